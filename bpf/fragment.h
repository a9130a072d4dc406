/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments are not put together: the first one, which has the ports, leaves
 * its real server behind for those that follow.
 */
#ifndef FRAGMENT_H
#define FRAGMENT_H

#include "counters.h"
#include "packet.h"

#define FRAGMENT_LIFETIME 30 /* seconds, as the stack's reassembly */

static __always_inline void fragment_fill(struct fragment_key *key, const struct packet *packet)
{
	__builtin_memcpy(key->source, packet->source, 16);
	__builtin_memcpy(key->destination, packet->destination, 16);
	key->id = packet->fragment_id;
	/* Of IPv6 the identification alone counts: what follows the fragment header may be an extension header. */
	key->protocol = packet->family == FAMILY_IPV6 ? IPPROTO_FRAGMENT : packet->protocol;
}

__noinline int fragment_remember(const struct packet *packet, __u32 real_server)
{
	if (!packet)
		return 0;
	struct fragment value = { .real_server = real_server, .tick = sweep.tick };
	struct fragment_key key = {};

	fragment_fill(&key, packet);
	count(COUNTER(forward_fragment));
	return bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

/* The real server of a later fragment's first one, 0: not seen. */
__noinline int fragment_lookup(const struct packet *packet)
{
	if (!packet)
		return 0;
	struct fragment_key key = {};
	struct fragment *value;

	fragment_fill(&key, packet);
	value = bpf_map_lookup_elem(&fragments, &key);
	if (!value || sweep.tick - value->tick > FRAGMENT_LIFETIME)
		return 0;
	return value->real_server;
}

#endif
