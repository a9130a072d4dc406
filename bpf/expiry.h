/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The sweep: a timer that advances the tick and walks a slice of the table
 * each time, so that connections expire and counts stay right with no daemon
 * running. It goes over the whole table in a second and a half.
 */
#ifndef EXPIRY_H
#define EXPIRY_H

#include "connection.h"

#define SWEEP_INTERVAL_NS (12 * 1000 * 1000ULL)
#define SWEEP_ROUNDS 128 /* intervals to walk the whole table in, a power of two */
#define NANOSECONDS 1000000000ULL
#define IDLE_AFTER 1024 /* seconds, a quarter of what a slot's tick counts */
#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif

/* A template lives while connections that came by it do, and its time after its last use. */
__noinline int template_expired(__u32 index, __u32 id, __u32 tick)
{
	struct connection_extra *extra = lookup(connection_extras, index);
	struct real_server *real_server = lookup(real_servers, id);
	struct service *service;

	if (!extra || !real_server)
		return 0;
	service = lookup(services, real_server->service);
	if (!service)
		return 0;
	if (connections_by(index))
		return 0;
	return !(real_server->flags & REAL_SERVER_AVAILABLE) ||
	       tick - extra->used > service->persistence_timeout;
}

/* The state that a connection rests in for long, 0: it cannot. */
static __always_inline __u32 idle_state(__u32 state)
{
	switch (state) {
	case STATE_ESTABLISHED:
		return STATE_ESTABLISHED_IDLE;
	case STATE_FIN_WAIT:
		return STATE_FIN_WAIT_IDLE;
	case STATE_UDP:
	case STATE_UDP_NEW:
		return STATE_UDP_IDLE;
	case STATE_SCTP_ESTABLISHED:
		return STATE_SCTP_ESTABLISHED_IDLE;
	default:
		return 0;
	}
}

/* Before the tick's bits are used up the time of the last packet goes to where it has room. */
__noinline int fall_asleep(__u32 index, __u64 word, __u32 tick)
{
	struct connection_extra *extra = lookup(connection_extras, index);
	__u32 idle = idle_state(word_state(word));
	__u64 *slot = slot_at(index);

	if (!idle || !extra || !slot)
		return 0;
	extra->used = tick - word_age(word, tick);
	__sync_val_compare_and_swap(
		slot, word, make_word(word >> SLOT_TAG_SHIFT, word_real_server(word), idle, tick));
	return 0;
}

__noinline int idle_expired(__u32 index, __u64 word, __u32 tick)
{
	struct connection_extra *extra = lookup(connection_extras, index);

	return !extra || tick - extra->used > timeout_of(word);
}

static __always_inline bool is_expired(__u32 index, __u64 word, __u32 tick)
{
	__u32 state = word_state(word), age;

	if (state == STATE_TEMPLATE)
		return template_expired(index, word_real_server(word), tick);
	if (state != awake(state))
		return idle_expired(index, word, tick);
	age = word_age(word, tick);
	if (age > timeout_of(word))
		return true;
	if (age >= IDLE_AFTER)
		fall_asleep(index, word, tick);
	return false;
}

static __always_inline void count_live(__u32 state)
{
	sweep.counting_by_state[state & (STATE_COUNT - 1)]++;
}

/* Any slot in use. Returns how many live connections it is left with, 1 or 0. */
__noinline int sweep_slot(__u32 index, __u64 word, __u32 tick)
{
	if (!is_expired(index, word, tick)) {
		count_live(awake(word_state(word)));
		return 1;
	}
	if (close_slot(index, word))
		count(COUNTER(expired));
	return 0;
}

/* States that have more to them than a timeout. */
#define STATES_APART                                                                  \
	(1U << STATE_TEMPLATE | 1U << STATE_ESTABLISHED_IDLE | 1U << STATE_UDP_IDLE | \
	 1U << STATE_FIN_WAIT_IDLE | 1U << STATE_SCTP_ESTABLISHED_IDLE)

/* The same, faster for the usual one, whose connection simply lives on. */
static __always_inline __u32 sweep_word(__u32 index, __u64 word, __u32 tick)
{
	__u32 state = word_state(word), age = word_age(word, tick);

	if (STATES_APART >> state & 1 || age >= IDLE_AFTER || settings.idle_timeouts ||
	    age > settings.timeout[state & (STATE_COUNT - 1)])
		return sweep_slot(index, word, tick);
	count_live(state);
	return 1;
}

static __always_inline bool holds_displaced(struct connection_line *line)
{
	for (int place = 0; place < SLOTS_PER_LINE; place++) {
		if (*(volatile __u64 *)&line->slot[place] & TAG_DISPLACED << SLOT_TAG_SHIFT)
			return true;
	}
	return false;
}

static long sweep_line(__u32 i, void *context)
{
	__u32 first = *(__u32 *)context, tick = sweep.tick;
	__u32 index = (first + i) & settings.line_mask;
	struct connection_line *line = bpf_map_lookup_elem(&connections, &index);
	__u32 live = 0;

	if (!line)
		return 1;
	for (int place = 0; place < SLOTS_PER_LINE; place++) {
		__u64 word = *(volatile __u64 *)&line->slot[place];

		if (word)
			live += sweep_word(index * SLOTS_PER_LINE + place, word, tick);
	}
	sweep.live_counting += live;
	/* Whoever moves in meanwhile sets the bit again after having filled the slot. */
	if (has_overflowed(index ^ 1) && !holds_displaced(line)) {
		clear_overflowed(index ^ 1);
		if (holds_displaced(line))
			set_overflowed(index ^ 1);
	}
	return 0;
}

static __always_inline void sweep_pass_done(void)
{
	sweep.live = sweep.live_counting;
	sweep.live_counting = 0;
	for (int i = 0; i < STATE_COUNT; i++) {
		sweep.live_by_state[i] = sweep.counting_by_state[i];
		sweep.counting_by_state[i] = 0;
	}
	sweep.passes++;
}

static __always_inline void sweep_lines(__u32 lines)
{
	__u32 first = sweep.line & settings.line_mask;

	bpf_loop(lines, sweep_line, &first, 0);
	if (first + lines > settings.line_mask)
		sweep_pass_done();
	sweep.line = first + lines & settings.line_mask;
}

static int sweep_timer(void *map, int *key, struct sweeper *sweeper)
{
	__u64 start = bpf_ktime_get_ns();
	__u32 lines = (settings.line_mask + 1) / SWEEP_ROUNDS;

	sweep.tick = start / NANOSECONDS;
	sweep_lines(lines ? lines : 1);
	sweep.rounds++;
	sweep.nanoseconds += bpf_ktime_get_ns() - start;
	bpf_timer_start(&sweeper->timer, SWEEP_INTERVAL_NS, 0);
	return 0;
}

#endif
