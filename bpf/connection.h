/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 3: the connection table. Lines of eight one-word slots, each line a
 * cache line; a connection lies in the line that its hash names or in that
 * line's neighbour. A packet of a live connection touches one line. The word
 * holds a tag of the hash in place of the key; the whole tuple lies beside it,
 * in a line that only opening and listing touch.
 *
 * No locks. A slot is claimed, changed and freed by compare-and-swap of its
 * word, and whoever has swapped a word accounts for the difference.
 *
 * A live established connection is never evicted. Two tuples whose hashes
 * agree in line and tag (about 2^-27 for each new connection, not to be
 * provoked without the key) share a slot and thereby a real server.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "counters.h"
#include "schedulers/tree.h"
#include "sctp_state.h"
#include "tcp_state.h"
#include "template_link.h"

/* An established connection's tick is written anew only when it is this old, in seconds. */
#define REFRESH_ESTABLISHED 4
#define CHANGE_TRIES 4
/* Told apart from the services' own connections by its place in the hash. */
#define TEMPLATE_OF (1U << 16)

/* What a state is while the connection does not rest for long. */
static __always_inline __u32 awake(__u32 state)
{
	switch (state) {
	case STATE_ESTABLISHED_IDLE:
		return STATE_ESTABLISHED;
	case STATE_UDP_IDLE:
		return STATE_UDP;
	case STATE_FIN_WAIT_IDLE:
		return STATE_FIN_WAIT;
	case STATE_SCTP_ESTABLISHED_IDLE:
		return STATE_SCTP_ESTABLISHED;
	default:
		return state;
	}
}

/* Counts as active, tcp_state_active() of ip_vs_proto_tcp.c: half-open ones, too. All others are inactive. */
static __always_inline bool is_active(__u32 state)
{
	const __u32 active = 1U << STATE_ESTABLISHED | 1U << STATE_ESTABLISHED_IDLE |
			     1U << STATE_SYN_SENT | 1U << STATE_SYN_RECV | 1U << STATE_SYNACK |
			     1U << STATE_SCTP_ESTABLISHED | 1U << STATE_SCTP_ESTABLISHED_IDLE;

	return active >> (state & SLOT_STATE_MASK) & 1;
}

struct connection {
	__u64 word;
	__u32 index;
};

/* Thirty bits of the hash; the lowest bit is 0, for a slot in its own line. */
static __always_inline __u64 hash_tag(__u64 hash)
{
	__u64 tag = hash >> SLOT_TAG_SHIFT & ~TAG_DISPLACED;

	return tag ? tag : 2;
}

static __always_inline __u32 hash_line(__u64 hash)
{
	return hash & settings.line_mask;
}

/*
 * What changes only the highest bits of the first product is spread by the
 * second alone, which few odd numbers do well. So the last bytes of the
 * address, the highest of its word, also go to the lowest, where the service's
 * port is. Without, as before layout 6, a network's clients shared a few lines
 * by one key of twenty.
 */
static __always_inline __u64 client_hash(const __be32 *source, __u32 ports, const bool ipv6)
{
	__u64 hash;

	if (settings.tuple_hash)
		ports ^= source[3] >> 16;
	hash = (__u64)source[3] << 32 | ports;
	if (ipv6) {
		__u64 high = (__u64)source[0] << 32 | source[1];

		high = (high ^ settings.key[2]) * settings.key[1];
		high ^= high >> 32;
		high = (high ^ source[2]) * settings.key[3];
		hash ^= high ^ high >> 29;
	}
	hash = (hash ^ settings.key[0]) * settings.key[1];
	return hash ^ hash >> 32 ^ settings.key[2];
}

static __always_inline __u64 hash_with_mix(__u64 hash, __u64 mix)
{
	hash = (hash ^ mix) * settings.key[3];
	return hash ^ hash >> 32;
}

/*
 * A keyed mix of client, ports, virtual address and protocol; of an IPv4
 * client's tuple nothing is lost, 64 bits to 64 bits.
 */
static __always_inline __u64 tuple_hash(const __be32 *client, const __be32 *virtual_address,
					__u32 ports, __u8 protocol, const bool ipv6)
{
	return hash_with_mix(client_hash(client, ports, ipv6),
			     endpoint_mix(virtual_address, endpoint_port(ports, protocol)));
}

/* Templates are found by it, and connections in a table from before layout 6. */
static __always_inline __u64 service_hash(const __be32 *client, __u32 ports, __u32 service,
					  const bool ipv6)
{
	return hash_with_mix(client_hash(client, ports, ipv6), (__u64)service << 44 ^ service);
}

static __always_inline __u64 connection_hash(const __be32 *client, const __be32 *virtual_address,
					     __u32 ports, __u8 protocol, __u32 service,
					     const bool ipv6)
{
	if (settings.tuple_hash)
		return tuple_hash(client, virtual_address, ports, protocol, ipv6);
	return service_hash(client, ports, service, ipv6);
}

/*
 * The verifier would follow each of the eight places to the program's end.
 * Mixed with a value that it cannot know they are one to it.
 */
static __always_inline __u64 one_place(__u64 place, __u64 unknown)
{
	place ^= unknown;
	asm volatile("" : "+r"(place));
	return (place ^ unknown) & (SLOTS_PER_LINE - 1);
}

static __always_inline bool find_in_line(__u32 line_index, __u64 tag, struct connection *found)
{
	struct connection_line *line = lookup(connections, line_index);
	__u64 word, place;

	if (!line)
		return false;
#pragma unroll
	for (place = 0; place < SLOTS_PER_LINE; place++) {
		word = *(volatile __u64 *)&line->slot[place];
		if (word >> SLOT_TAG_SHIFT == tag)
			goto found;
	}
	return false;
found:
	place = one_place(place, word);
	found->word = word;
	found->index = line_index * SLOTS_PER_LINE + place;
	return true;
}

/* The word with that tag, 0: not in this line. */
static __always_inline __u64 word_in_line(__u32 line_index, __u64 tag)
{
	struct connection_line *line = lookup(connections, line_index);
	__u64 word;

	if (!line)
		return 0;
#pragma unroll
	for (int place = 0; place < SLOTS_PER_LINE; place++) {
		word = *(volatile __u64 *)&line->slot[place];
		if (word >> SLOT_TAG_SHIFT == tag)
			return word;
	}
	return 0;
}

/* Whether the line's neighbour holds connections of it; that line need not be fetched otherwise. */
static __always_inline bool has_overflowed(__u32 line)
{
	__u64 *bits = lookup(overflows, line / 64);

	return bits && *(volatile __u64 *)bits & 1ULL << line % 64;
}

static __always_inline void set_overflowed(__u32 line)
{
	__u64 *bits = lookup(overflows, line / 64);

	if (bits)
		__sync_fetch_and_or(bits, 1ULL << line % 64);
}

static __always_inline void clear_overflowed(__u32 line)
{
	__u64 *bits = lookup(overflows, line / 64);

	if (bits)
		__sync_fetch_and_and(bits, ~(1ULL << line % 64));
}

static __always_inline bool connection_lookup(__u64 hash, struct connection *found)
{
	__u32 line = hash_line(hash);
	__u64 tag = hash_tag(hash);

	if (find_in_line(line, tag, found))
		return true;
	return has_overflowed(line) && find_in_line(line ^ 1, tag | TAG_DISPLACED, found);
}

/*
 * Adds to the counts of a real server, of whose active and inactive each
 * connection is one, and tells whatever its scheduler keeps of them.
 */
__noinline int change_load(__u32 id, int active, int inactive)
{
	struct real_server *real_server = lookup(real_servers, id);
	struct real_server_load *load = lookup(real_server_loads, id);
	struct service_state *state;
	struct service *service;
	__u32 before = 0;

	if (!real_server || !load)
		return 0;
	if (inactive)
		__sync_fetch_and_add(&load->inactive, inactive);
	if (active)
		before = __sync_fetch_and_add(&load->active, active);
	if (active + inactive > 0 && real_server->upper_threshold)
		threshold_opened(real_server, load);
	else if (active + inactive < 0 && load->weight & LOAD_OVERLOADED)
		threshold_closed(real_server, load);

	service = real_server->flags & REAL_SERVER_AVAILABLE
			  ? lookup(services, real_server->service)
			  : NULL;
	if (!service || !service->tree_leaves)
		return 0;
	if (active && counts_light(service->scheduler)) {
		bool was_light = is_light(before, load_weight(load));
		bool light = is_light(before + active, load_weight(load));

		state = lookup(service_states, real_server->service);
		if (state && was_light != light)
			__sync_fetch_and_add(&state->light, light ? 1 : -1);
	}
	tree_update(service, real_server, id);
	return 0;
}

static __always_inline void change_persistent(__u32 id, int by)
{
	struct real_server_load *load = lookup(real_server_loads, id);

	if (load)
		__sync_fetch_and_add(&load->persistent, by);
}

/* Who has just freed a slot accounts for what was in it. */
static __always_inline void account_close(__u32 index, __u64 word)
{
	__u32 id = word_real_server(word), state = word_state(word);

	if (state == STATE_TEMPLATE) {
		change_persistent(id, -1);
		return;
	}
	change_load(id, is_active(state) ? -1 : 0, is_active(state) ? 0 : -1);
	/* A cold line that nobody has written where there is no persistence. */
	if (settings.templates)
		unlink_template(index);
}

static __always_inline bool close_unaccounted(__u32 index, __u64 word)
{
	__u64 *slot = slot_at(index);

	return slot && __sync_val_compare_and_swap(slot, word, 0) == word;
}

/* What account_close() takes away from the real server. */
static __always_inline void account_open(__u64 word)
{
	__u32 id = word_real_server(word), state = word_state(word);

	if (state == STATE_TEMPLATE)
		change_persistent(id, 1);
	else
		change_load(id, is_active(state), !is_active(state));
}

/* Frees the slot if it still holds that word. */
__noinline int close_slot(__u32 index, __u64 word)
{
	if (!close_unaccounted(index, word))
		return 0;
	account_close(index, word);
	return 1;
}

/* Whether real server's service has templates that its connections come by. */
static __always_inline bool is_persistent(__u32 id)
{
	struct real_server *real_server = lookup(real_servers, id);
	struct service *service = real_server ? lookup(services, real_server->service) : NULL;

	return service && service->persistence_timeout;
}

/* `event`: see packet.h. The state tells the protocol. */
static __always_inline __u32 next_state(__u32 state, __u32 event)
{
	state = awake(state);
	if (event & HEADER_SHORT)
		return state;
	if (state == STATE_UDP || state == STATE_UDP_NEW)
		return STATE_UDP;
	return state >= STATE_SCTP_NONE ? sctp_next_state(state, event)
					: tcp_next_state(state, event);
}

/* A packet that may change the state; another CPU may be writing the tick meanwhile. */
__noinline int change_state(__u32 index, __u64 word, __u32 event, __u32 tick)
{
	__u64 *slot = slot_at(index);

	if (!slot)
		return 0;
	for (int try = 0; try < CHANGE_TRIES; try++) {
		__u32 state = word_state(word), next = next_state(state, event);
		__u64 seen, changed = make_word(word >> SLOT_TAG_SHIFT, word_real_server(word),
						next, tick);

		if (changed == word)
			return 1;
		seen = __sync_val_compare_and_swap(slot, word, changed);
		if (seen == word) {
			int active = is_active(next) - is_active(state);

			if (active)
				change_load(word_real_server(word), active, -active);
			if (is_half_open(state) && !is_half_open(next) && settings.templates &&
			    is_persistent(word_real_server(word)))
				assure_template(index);
			return 1;
		}
		if (seen >> SLOT_TAG_SHIFT != word >> SLOT_TAG_SHIFT)
			return 0;
		word = seen;
	}
	return 0;
}

/* Whether the time of a live connection's last packet is to be written anew. */
static __always_inline bool is_stale(__u64 word, __u32 tick)
{
	return word_age(word, tick) >=
	       (word_state(word) == STATE_ESTABLISHED ? REFRESH_ESTABLISHED : 1);
}

static __always_inline void write_tick(__u32 index, __u64 word, __u32 tick)
{
	__u64 *slot = slot_at(index);

	if (slot)
		__sync_val_compare_and_swap(slot, word,
					    (word & ~SLOT_TICK_MASK) | (tick & SLOT_TICK_MASK));
}

/* As write_tick(), of a connection whose place is not at hand. */
__noinline int connection_refresh(__u64 hash, __u64 word, __u32 tick)
{
	struct connection found = {};

	if (find_in_line(hash_line(hash), hash_tag(hash), &found))
		write_tick(found.index, word, tick);
	return 0;
}

/*
 * Every packet of a live connection: state and time, written only when they
 * moved on. `event`: packet->flags, and EVENT_TWO_WAY and EVENT_REPLY for masq.
 */
static __always_inline void connection_touch(const struct connection *connection, __u32 event)
{
	__u32 tick = sweep.tick, state = word_state(connection->word);

	if (state != STATE_UDP &&
	    (state != STATE_ESTABLISHED || (event & (TCP_STATE_FLAGS | HEADER_SHORT)) != TCP_ACK)) {
		change_state(connection->index, connection->word, event, tick);
		return;
	}
	if (is_stale(connection->word, tick))
		write_tick(connection->index, connection->word, tick);
}

/* Seconds that a connection may rest. */
static __always_inline __u32 timeout_of(__u64 word)
{
	__u32 state = awake(word_state(word));
	struct real_server *real_server;

	if (state == STATE_UDP_NEW)
		state = STATE_UDP;
	if (settings.idle_timeouts &&
	    (state == STATE_ESTABLISHED || state == STATE_UDP || state == STATE_SCTP_ESTABLISHED)) {
		real_server = lookup(real_servers, word_real_server(word));
		if (real_server && real_server->idle_timeout)
			return real_server->idle_timeout;
	}
	return settings.timeout[state & (STATE_COUNT - 1)];
}

/* Seven of eight slots were in use when the sweep last counted them. */
static __always_inline bool is_crowded(void)
{
	return sweep.live >= (settings.line_mask + 1) * (SLOTS_PER_LINE - SLOTS_PER_LINE / 8);
}

/*
 * In a flood: a half-open connection, a template that is forsaken, and one of a
 * single datagram, as by the kernel's drop_entry, ip_vs_random_dropentry() of
 * ip_vs_conn.c. The last not to another datagram: of two that take each other's
 * place by turns none would stay with its real server, as they do without.
 */
static __always_inline __u32 gives_way(__u32 index, __u64 word, __u32 to_state)
{
	__u32 state = word_state(word);

	if (state == STATE_TEMPLATE)
		return is_forsaken(index) & 1;
	return is_half_open(state) || (state == STATE_UDP_NEW && to_state != STATE_UDP_NEW);
}

/*
 * Whom a full pair of lines gives up: expired before closing before half open,
 * the oldest of its kind first; 0: nobody. The rank's upper bits are the kind.
 */
#define VICTIM_HALF_OPEN 1
#define VICTIM_CLOSING 2
#define VICTIM_EXPIRED 3
#define VICTIM_KIND_SHIFT 12
#define VICTIM_PLACES (2 * SLOTS_PER_LINE)

/* A call, or the verifier would follow its every branch through all the slots that come after. */
__noinline int victim_rank(__u32 index, __u64 word, __u32 tick, __u32 to_state)
{
	__u32 state = word_state(word), age = word_age(word, tick), kind;

	/* How long an idle one has rested only the sweep looks up. */
	if (!word || state != awake(state))
		return 0;
	if (state != STATE_TEMPLATE && age > timeout_of(word))
		kind = VICTIM_EXPIRED;
	else if (gives_way(index, word, to_state))
		kind = VICTIM_HALF_OPEN;
	else if (is_active(state) || state == STATE_UDP || state == STATE_UDP_NEW ||
		 state == STATE_TEMPLATE)
		return 0;
	else
		kind = VICTIM_CLOSING;
	return kind << VICTIM_KIND_SHIFT | age;
}

struct victim {
	__u64 word;
	__u32 rank; /* and the place, mixed with chance */
	__u32 index;
};

/* Most are of the same second: which of them goes is left to chance, some bits of the word to come. */
static __always_inline void seek_victim(__u32 line_index, __u32 tick, __u64 to_word,
					struct victim *victim)
{
	__u32 chance = to_word >> (SLOT_TAG_SHIFT + 1) & (VICTIM_PLACES - 1);
	struct connection_line *line = lookup(connections, line_index);

	if (!line)
		return;
	for (int place = 0; place < SLOTS_PER_LINE; place++) {
		__u64 word = *(volatile __u64 *)&line->slot[place];
		__u32 index = line_index * SLOTS_PER_LINE + place;
		__u32 rank = victim_rank(index, word, tick, word_state(to_word));

		if (!rank)
			continue;
		rank = (rank * VICTIM_PLACES + (line_index & 1) * SLOTS_PER_LINE + place) ^ chance;
		if (rank > victim->rank) {
			victim->rank = rank;
			victim->word = word;
			victim->index = index;
		}
	}
}

static __always_inline void count_victim(__u32 kind)
{
	switch (kind) {
	case VICTIM_EXPIRED:
		count(COUNTER(victim_expired));
		break;
	case VICTIM_CLOSING:
		count(COUNTER(victim_closing));
		break;
	default:
		count(COUNTER(victim_half_open));
	}
}

/* Frees one slot of the two lines; its index + 1, or 0. */
static __always_inline int evict(__u32 line, __u64 word, __u32 tick)
{
	struct victim victim = {};

	seek_victim(line, tick, word, &victim);
	seek_victim(line ^ 1, tick, word, &victim);
	if (!victim.rank || !close_slot(victim.index, victim.word))
		return 0;
	count_victim(victim.rank / VICTIM_PLACES >> VICTIM_KIND_SHIFT);
	return victim.index + 1;
}

/* In a crowded table so many in one line that give way are no accident. */
#define FLOOD_OF_LINE (SLOTS_PER_LINE / 2)

/*
 * The same in a flood: puts the word where the oldest of the full line was that
 * gives way, so that what opens costs one line and lies where the short way
 * looks. All lines of a flooded table turn over at one rate: a half-open
 * connection lives no shorter for it than if the oldest of two lines had to go.
 * Returns 1 + the index; 0: no flood.
 */
__noinline int claim_in_flood(__u32 line_index, __u64 word, __u32 tick)
{
	__u32 chance = word >> (SLOT_TAG_SHIFT + 1) & (SLOTS_PER_LINE - 1);
	__u32 first = line_index * SLOTS_PER_LINE, giving_way = 0, oldest = 0, place;
	struct connection_line *line;
	__u64 victim = 0;

	if (!is_crowded())
		return 0;
	line = lookup(connections, line_index);
	if (!line)
		return 0;
	for (place = 0; place < SLOTS_PER_LINE; place++) {
		__u64 seen = *(volatile __u64 *)&line->slot[place];
		__u32 age = (word_age(seen, tick) + 1) * SLOTS_PER_LINE + place;
		__u32 gives = gives_way(first + place, seen, word_state(word));

		giving_way += gives;
		age = gives * (age ^ chance);
		if (age > oldest) {
			oldest = age;
			victim = seen;
		}
	}
	place = (oldest ^ chance) & (SLOTS_PER_LINE - 1);
	if (giving_way < FLOOD_OF_LINE ||
	    __sync_val_compare_and_swap(&line->slot[place], victim, word) != victim)
		return 0;
	count_victim(VICTIM_HALF_OPEN);
	account_close(first + place, victim);
	return first + place + 1;
}

/* As claim_slot(), in one line; 0: it has no free slot. */
static __always_inline int claim_in_line(__u32 line_index, __u64 word)
{
	struct connection_line *line = lookup(connections, line_index);
	__u64 seen, place;

	if (!line)
		return 0;
#pragma unroll
	for (place = 0; place < SLOTS_PER_LINE; place++) {
		if (*(volatile __u64 *)&line->slot[place])
			continue;
		seen = __sync_val_compare_and_swap(&line->slot[place], 0, word);
		if (!seen)
			return line_index * SLOTS_PER_LINE + one_place(place, word) + 1;
		if (seen >> SLOT_TAG_SHIFT == word >> SLOT_TAG_SHIFT)
			return -1;
	}
	return 0;
}

/* Of those in the line the one in the lowest place stays. Returns 1: that is another than the caller's. */
__noinline int resolve_twice(__u32 index, __u64 word)
{
	struct connection_line *line = lookup(connections, index / SLOTS_PER_LINE);
	__u32 own = index % SLOTS_PER_LINE, first = index - own;

	if (!line)
		return 0;
	for (__u32 place = 0; place < SLOTS_PER_LINE; place++) {
		__u64 seen = *(volatile __u64 *)&line->slot[place];

		if (place == own || seen >> SLOT_TAG_SHIFT != word >> SLOT_TAG_SHIFT)
			continue;
		if (place > own) {
			close_slot(first + place, seen);
			continue;
		}
		if (!close_unaccounted(index, word))
			account_open(word);
		return 1;
	}
	return 0;
}

/*
 * Whether another CPU has opened the same connection in the same line, which
 * it may have done between this one's look and its claim. Whoever closes the
 * other's slot accounts for it as for any, whether its opener has done so
 * already or will in a moment.
 */
static __always_inline bool is_opened_twice(__u32 line_index, __u32 index, __u64 word)
{
	struct connection_line *line = lookup(connections, line_index);
	__u32 own = index & (SLOTS_PER_LINE - 1), place;

	if (!line)
		return false;
	for (place = 0; place < SLOTS_PER_LINE; place++)
		if (place != own && *(volatile __u64 *)&line->slot[place] >> SLOT_TAG_SHIFT ==
					    word >> SLOT_TAG_SHIFT)
			return resolve_twice(index, word);
	return false;
}

/* The second choice: no room in its own line, so in the neighbour or in a victim's place. */
__noinline int claim_elsewhere(__u32 line, __u64 word, __u32 tick)
{
	__u64 displaced = word | TAG_DISPLACED << SLOT_TAG_SHIFT;
	__u64 *slot;
	int claimed;

	set_overflowed(line);
	claimed = claim_in_line(line ^ 1, displaced);
	if (!claimed) {
		claimed = evict(line, word, tick);
		slot = claimed > 0 ? slot_at(claimed - 1) : NULL;
		if (!slot)
			return 0;
		if ((claimed - 1) / SLOTS_PER_LINE == line)
			displaced = word;
		if (__sync_val_compare_and_swap(slot, 0, displaced))
			return 0;
	}
	/* The sweep may have cleared it just before the slot was filled. */
	set_overflowed(line);
	return claimed;
}

/*
 * Puts a word into a free slot of its two lines. Returns 1 + its index; 0: both
 * are full of live connections; -1: another CPU has just opened the same one.
 */
static __always_inline int claim_slot(__u64 hash, __u64 word, __u32 tick)
{
	__u32 line = hash_line(hash);
	int claimed = claim_in_line(line, word);

	if (!claimed)
		claimed = claim_in_flood(line, word, tick);
	if (claimed > 0)
		return is_opened_twice(line, claimed - 1, word) ? -1 : claimed;
	return claimed ? claimed : claim_elsewhere(line, word, tick);
}

static __always_inline void write_detail(__u32 index, __u8 family, const __be32 *client,
					 __be16 client_port, __be16 virtual_port)
{
	struct connection_line *line = lookup(connections, index / SLOTS_PER_LINE);
	struct connection_extra *extra;
	struct connection_detail *detail;

	if (!line)
		return;
	detail = &line->detail[index % SLOTS_PER_LINE];
	detail->client = client[3];
	detail->client_port = client_port;
	detail->virtual_port = virtual_port;
	if (family == FAMILY_IPV6) {
		extra = lookup(connection_extras, index);
		if (extra)
			for (int i = 0; i < 3; i++)
				extra->client[i] = client[i];
	}
}

/* Opens a connection that its opener accounts for; returns as claim_slot(). */
static __always_inline int connection_open(const struct packet *packet, __u32 id, __u32 state)
{
	__u32 tick = sweep.tick;
	int claimed;

	claimed =
		claim_slot(packet->hash, make_word(hash_tag(packet->hash), id, state, tick), tick);
	if (claimed <= 0)
		return claimed;
	count_connection(id);
	write_detail(claimed - 1, packet->family, packet->source, packet->source_port,
		     packet->destination_port);
	return claimed;
}

/* One connection more, of a real server by whose load nobody chooses; but it is shown. */
static __always_inline void load_opened(__u32 id, __u32 state)
{
	struct real_server_load *load = lookup(real_server_loads, id);

	if (load)
		__sync_fetch_and_add(is_active(state) ? &load->active : &load->inactive, 1);
}

/* Opens a persistence template; returns as claim_slot(). */
static __always_inline int template_open(const struct packet *packet, __u64 hash,
					 const __be32 *network, __be16 port, __u32 id)
{
	__u32 tick = sweep.tick;
	int claimed;

	claimed = claim_slot(hash, make_word(hash_tag(hash), id, STATE_TEMPLATE, tick), tick);
	if (claimed <= 0)
		return claimed;
	write_detail(claimed - 1, packet->family, network, 0, port);
	begin_template(claimed - 1, 0);
	change_persistent(id, 1);
	return claimed;
}

static __always_inline bool line_is_full(__u32 line_index)
{
	struct connection_line *line = lookup(connections, line_index);

	if (!line)
		return false;
	for (int place = 0; place < SLOTS_PER_LINE; place++)
		if (!*(volatile __u64 *)&line->slot[place])
			return false;
	return true;
}

/*
 * Whether the slot's connection is of the packet's tuple, though its real
 * server's service is not the one that the packet is for by now: a service of
 * one port has come beside one of all ports, or gone. By an equal tag alone it
 * would be another's.
 */
static __always_inline bool is_same_tuple(const struct packet *packet, __u32 index,
					  __u32 service_index)
{
	struct connection_line *line = lookup(connections, index / SLOTS_PER_LINE);
	struct service *service = lookup(services, service_index);
	struct connection_detail *detail;

	if (!line || !service)
		return false;
	detail = &line->detail[index % SLOTS_PER_LINE];
	return is_same_address(service->address, packet->destination) &&
	       service->protocol == packet->protocol && detail->client == packet->source[3] &&
	       detail->client_port == packet->source_port &&
	       detail->virtual_port == packet->destination_port;
}

/* As the kernel's ip_vs_conn_in_get(), which asks for no service. */
static __always_inline bool is_connection_of(const struct packet *packet,
					     const struct connection *connection,
					     const struct real_server *real_server)
{
	return real_server->service == packet->service ||
	       is_same_tuple(packet, connection->index, real_server->service);
}

/* Both lines hold live connections only: this packet may belong to an untracked one. */
__noinline int lines_are_full(__u64 hash)
{
	__u32 line = hash_line(hash);

	return line_is_full(line) && line_is_full(line ^ 1);
}

#endif
