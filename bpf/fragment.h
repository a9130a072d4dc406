/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments are not put together: the first one, which has the ports, leaves
 * its real server behind for those that follow. One that comes before it is
 * given to user space, which lets the program meet it again when the first
 * has come (src/dataplane/xdp/held-fragments.ts). There is room only while
 * user space makes some, so a flood of them costs little; without room they
 * are the stack's.
 */
#ifndef FRAGMENT_H
#define FRAGMENT_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#include "counters.h"
#include "packet.h"

#define FRAGMENT_LIFETIME 30 /* seconds, as the stack's reassembly */

struct held_fragment {
	struct fragment_record record;
	__u8 frame[HELD_FRAME_MAX];
};

static __always_inline void fragment_fill(struct fragment_key *key, const struct packet *packet)
{
	__builtin_memcpy(key->source, packet->source, 16);
	__builtin_memcpy(key->destination, packet->destination, 16);
	key->id = packet->fragment_id;
	/* Of IPv6 the identification alone counts: what follows the fragment header may be an extension header. */
	key->protocol = packet->family == FAMILY_IPV6 ? IPPROTO_FRAGMENT : packet->protocol;
}

static __always_inline bool is_fresh(const struct fragment *fragment)
{
	return sweep.tick - fragment->tick <= FRAGMENT_LIFETIME;
}

static __always_inline bool is_fragment_address(const __be32 *address)
{
	struct fragment_address key;

	__builtin_memcpy(key.address, address, 16);
	return bpf_map_lookup_elem(&fragment_addresses, &key);
}

/* To a virtual address, or from a masqueraded real server. */
static __always_inline bool is_cut_for_us(const struct packet *packet)
{
	return is_fragment_address(packet->destination) ||
	       (settings.masquerades && is_fragment_address(packet->source));
}

/* Those that user space holds may follow. If this is lost they wait until their time is over. */
static __always_inline void tell_first(const struct fragment_key *key)
{
	struct fragment_record *record = bpf_ringbuf_reserve(&held_fragments, sizeof(*record), 0);

	if (!record)
		return;
	record->key = *key;
	record->ifindex = 0;
	record->length = 0;
	bpf_ringbuf_submit(record, 0);
}

/*
 * A later fragment on another CPU marks the packet as awaited only where
 * nothing lies (BPF_NOEXIST), so one of the two sees the other.
 */
static __always_inline void fragment_leave(const struct packet *packet, __u32 real_server)
{
	struct fragment value = { .real_server = real_server, .tick = sweep.tick };
	struct fragment_key key = {};
	struct fragment *before;
	bool awaited;

	fragment_fill(&key, packet);
	if (!bpf_map_update_elem(&fragments, &key, &value, BPF_NOEXIST))
		return;
	before = bpf_map_lookup_elem(&fragments, &key);
	awaited = before && before->real_server == FRAGMENT_AWAITED;
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
	if (awaited)
		tell_first(&key);
}

__noinline int fragment_remember(const struct packet *packet, __u32 real_server)
{
	if (!packet)
		return 0;
	count(COUNTER(forward_fragment));
	fragment_leave(packet, real_server);
	return 0;
}

/* The stack has the first fragment, so it gets the later ones. */
__noinline int fragment_to_stack(const struct packet *packet)
{
	if (packet && is_cut_for_us(packet))
		fragment_leave(packet, FRAGMENT_OF_STACK);
	return 0;
}

static __always_inline int pass_not_service(const struct packet *packet)
{
	if (packet->fragment)
		fragment_to_stack(packet);
	return pass(COUNTER(pass_not_service));
}

/* What a later fragment's first one has left behind, 0: it has not come. */
__noinline int fragment_lookup(const struct packet *packet)
{
	if (!packet)
		return 0;
	struct fragment_key key = {};
	struct fragment *value;

	fragment_fill(&key, packet);
	value = bpf_map_lookup_elem(&fragments, &key);
	if (!value || value->real_server == FRAGMENT_AWAITED || !is_fresh(value))
		return 0;
	return value->real_server;
}

/* The stack answers ICMP itself, and has the first fragment of an echo request. */
__noinline int may_be_held(const struct packet *packet)
{
	return packet && settings.fragment_room > 0 && packet->protocol != IPPROTO_ICMP &&
	       packet->protocol != IPPROTO_ICMPV6 && is_cut_for_us(packet);
}

/* FRAGMENT_AWAITED, or what the first fragment has left behind just now. */
static __always_inline __u32 await_first(const struct packet *packet)
{
	struct fragment value = { .real_server = FRAGMENT_AWAITED, .tick = sweep.tick };
	struct fragment_key key = {};
	struct fragment *present;

	fragment_fill(&key, packet);
	if (!bpf_map_update_elem(&fragments, &key, &value, BPF_NOEXIST))
		return FRAGMENT_AWAITED;
	present = bpf_map_lookup_elem(&fragments, &key);
	if (!present)
		return FRAGMENT_OF_STACK;
	if (present->real_server == FRAGMENT_AWAITED)
		return FRAGMENT_AWAITED;
	if (is_fresh(present))
		return present->real_server;
	/* Of an earlier packet with this identification. */
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
	return FRAGMENT_AWAITED;
}

/*
 * FRAGMENT_AWAITED: user space has the frame. FRAGMENT_OF_STACK: it takes none.
 * Else what the first fragment has left behind meanwhile.
 */
__noinline int fragment_hold(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return FRAGMENT_OF_STACK;
	__u32 length = (void *)(long)ctx->data_end - (void *)(long)ctx->data;
	struct held_fragment *held;
	__u32 first;

	if (length < ETH_HLEN || length > HELD_FRAME_MAX ||
	    __sync_fetch_and_add(&settings.fragment_room, -1) <= 0)
		return FRAGMENT_OF_STACK;
	held = bpf_ringbuf_reserve(&held_fragments, sizeof(*held), 0);
	if (!held)
		return FRAGMENT_OF_STACK;
	/* What tells that the first one has come is reserved later, so user space meets it later. */
	first = bpf_xdp_load_bytes(ctx, 0, held->frame, length) ? FRAGMENT_OF_STACK
								: await_first(packet);
	if (first != FRAGMENT_AWAITED) {
		bpf_ringbuf_discard(held, 0);
		return first;
	}
	fragment_fill(&held->record.key, packet);
	held->record.ifindex = ctx->ingress_ifindex;
	held->record.length = length;
	bpf_ringbuf_submit(held, 0);
	return FRAGMENT_AWAITED;
}

#endif
