/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which persistence template a connection came by, so that the template lives
 * as long as its connections do.
 *
 * One word beside each slot. Beside a template's: the template's generation,
 * LINK_ASSURED and how many connections came by it. Beside a connection's: the
 * template's generation, LINK_OF_CONNECTION and 1 + the template's slot index;
 * without that bit it came by none.
 *
 * A template is assured when a connection that came by it is no longer half
 * open, as by set_tcp_state() of the kernel's ip_vs_proto_tcp.c; a datagram's
 * never was. What a flood has left behind is not assured, and gives way as
 * half-open connections do.
 *
 * A slot may be closed, and taken by another, at any moment between its claim
 * and the writing of this word. So each word that leaves memory is settled by
 * who took it out, in one atomic step: for each link there is, somewhere in
 * memory, one count in the template that it names, or that template is gone.
 */
#ifndef TEMPLATE_LINK_H
#define TEMPLATE_LINK_H

#include "slot.h"

#define LINK_OF_CONNECTION (1ULL << 31)
#define LINK_ASSURED (1ULL << 30)
#define LINK_PLACE (LINK_ASSURED - 1)
#define LINK_GENERATION (~0ULL << 32)
/* As many CPUs may change one template's count at the same moment. */
#define LINK_TRIES 64

/* Connections that came by the template in that slot. */
static __always_inline __u32 connections_by(__u32 index)
{
	__u64 *link = lookup(template_links, index);

	return link ? *link & LINK_PLACE : 0;
}

/* No connection ever got through by the template in that slot, and none is on its way. */
__noinline int is_forsaken(__u32 index)
{
	__u64 *link = lookup(template_links, index);

	return link && !(*(volatile __u64 *)link & (LINK_ASSURED | LINK_PLACE));
}

/* Takes back the count that a link stands for, of a template that may be gone. */
__noinline int settle_link(__u64 link)
{
	__u64 *template = lookup(template_links, (link & LINK_PLACE) - 1);

	if (!template || !(link & LINK_OF_CONNECTION))
		return 0;
	for (int try = 0; try < LINK_TRIES; try++) {
		__u64 seen = *(volatile __u64 *)template;

		if ((seen ^ link) & LINK_GENERATION || seen & LINK_OF_CONNECTION ||
		    !(seen & LINK_PLACE))
			return 0;
		if (__sync_val_compare_and_swap(template, seen, seen - 1) == seen)
			return 1;
	}
	return 0;
}

/* The connection in that slot, if it came by a template, has got through. */
__noinline int assure_template(__u32 index)
{
	__u64 *own = lookup(template_links, index), *template;
	__u64 link;

	if (!own)
		return 0;
	link = *(volatile __u64 *)own;
	if (!(link & LINK_OF_CONNECTION))
		return 0;
	template = lookup(template_links, (link & LINK_PLACE) - 1);
	if (!template)
		return 0;
	for (int try = 0; try < LINK_TRIES; try++) {
		__u64 seen = *(volatile __u64 *)template;

		if ((seen ^ link) & LINK_GENERATION || seen & (LINK_OF_CONNECTION | LINK_ASSURED))
			return 0;
		if (__sync_val_compare_and_swap(template, seen, seen | LINK_ASSURED) == seen)
			return 1;
	}
	return 0;
}

/* Counts one more connection; the link to be written beside it, 0: there is no template any more. */
static __always_inline __u64 count_link(__u32 template_index)
{
	__u64 *template = lookup(template_links, template_index);

	if (!template)
		return 0;
	for (int try = 0; try < LINK_TRIES; try++) {
		__u64 seen = *(volatile __u64 *)template;

		if (seen & LINK_OF_CONNECTION)
			return 0;
		if (__sync_val_compare_and_swap(template, seen, seen + 1) == seen)
			return (seen & LINK_GENERATION) | LINK_OF_CONNECTION | (template_index + 1);
	}
	return 0;
}

static __always_inline bool holds_connection(const __u64 *slot)
{
	__u64 word = *(volatile __u64 *)slot;

	return word && word_state(word) != STATE_TEMPLATE;
}

/* The slot's connection has been closed, by the caller. */
__noinline int unlink_template(__u32 index)
{
	__u64 *own = lookup(template_links, index);
	__u64 link;

	if (!own)
		return 0;
	link = *(volatile __u64 *)own;
	if (link & LINK_OF_CONNECTION && __sync_val_compare_and_swap(own, link, 0) == link)
		settle_link(link);
	return 0;
}

/*
 * The caller has put a connection into the slot; `template`: 1 + slot index of
 * the one it came by. Whoever closes it in the meantime finds no link yet,
 * therefore the look at the slot after writing.
 */
__noinline int link_template(__u32 index, __u32 template)
{
	__u64 *own = lookup(template_links, index);
	__u64 link, seen, *slot = slot_at(index);

	if (!own || !slot)
		return 0;
	seen = *(volatile __u64 *)own;
	if (!holds_connection(slot))
		return 0;
	link = count_link(template - 1);
	if (!link)
		return 0;
	if (__sync_val_compare_and_swap(own, seen, link) != seen) {
		settle_link(link);
		return 0;
	}
	settle_link(seen);
	if (!holds_connection(slot))
		unlink_template(index);
	else if (!is_half_open(word_state(*(volatile __u64 *)slot)))
		assure_template(index);
	return 0;
}

/* The caller has put a template into the slot: used now, and no connection came by it yet. */
__noinline int begin_template(__u32 index, __u64 assured)
{
	struct connection_extra *extra = lookup(connection_extras, index);
	__u64 *own = lookup(template_links, index);
	__u64 before, fresh = (__u64)bpf_get_prandom_u32() << 32 | (assured & LINK_ASSURED);

	if (!settings.templates)
		settings.templates = 1;
	if (!extra || !own)
		return 0;
	extra->used = sweep.tick;
	before = __sync_lock_test_and_set(own, fresh);
	settle_link(before);
	return 0;
}

#endif
