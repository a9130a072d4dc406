/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dh, sh and mh: a table of real servers that user space fills as the kernel
 * does (src/dataplane/xdp/hash-tables.ts), and the kernel's hash into it
 * (ip_vs_dh.c, ip_vs_sh.c, ip_vs_mh.c of net/netfilter/ipvs). Weight 0 and
 * overloaded real servers keep their places: who meets one is refused, or with
 * a fallback flag tries further places.
 */
#ifndef HASH_H
#define HASH_H

#include <bpf/bpf_endian.h>

#include "load.h"
#include "packet.h"

#define HASH_TABLE_BITS 8			 /* of dh and sh, CONFIG_IP_VS_SH_TAB_BITS */
#define GOLDEN_RATIO_32 0x61C88647U		 /* hash_32() of linux/hash.h */
#define MAGLEV_KEY 2654435761ULL		 /* both halves of the key */
#define SIPHASH_CONSTANT_0 0x736f6d6570736575ULL /* lib/siphash.c */
#define SIPHASH_CONSTANT_1 0x646f72616e646f6dULL
#define SIPHASH_CONSTANT_2 0x6c7967656e657261ULL
#define SIPHASH_CONSTANT_3 0x7465646279746573ULL

struct siphash {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate_left(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void siphash_round(struct siphash *state)
{
	state->v0 += state->v1;
	state->v1 = rotate_left(state->v1, 13) ^ state->v0;
	state->v0 = rotate_left(state->v0, 32);
	state->v2 += state->v3;
	state->v3 = rotate_left(state->v3, 16) ^ state->v2;
	state->v0 += state->v3;
	state->v3 = rotate_left(state->v3, 21) ^ state->v0;
	state->v2 += state->v1;
	state->v1 = rotate_left(state->v1, 17) ^ state->v2;
	state->v2 = rotate_left(state->v2, 32);
}

/* hsiphash() of a 64-bit kernel over four bytes: SipHash-1-3, cut to 32 bits. */
static __always_inline __u32 maglev_hash(__u32 value)
{
	struct siphash state = { MAGLEV_KEY ^ SIPHASH_CONSTANT_0, MAGLEV_KEY ^ SIPHASH_CONSTANT_1,
				 MAGLEV_KEY ^ SIPHASH_CONSTANT_2, MAGLEV_KEY ^ SIPHASH_CONSTANT_3 };
	__u64 block = (__u64)sizeof(value) << 56 | value;

	state.v3 ^= block;
	siphash_round(&state);
	state.v0 ^= block;
	state.v2 ^= 0xff;
	siphash_round(&state);
	siphash_round(&state);
	siphash_round(&state);
	return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

/* A service's table, and what a packet hashes to in it. */
struct hash_walk {
	__u32 first; /* of ring_members */
	__u32 length;
	__u32 value;	 /* what is hashed: folded address and port */
	__u32 offset;	 /* where the fallback begins to count */
	__u32 scheduler; /* enum scheduler */
	__u32 found;
};

static __always_inline __u32 hash_member(const struct hash_walk *walk, __u32 offset)
{
	__u32 *member, place;

	if (walk->scheduler == SCHEDULER_MH)
		place = maglev_hash(offset + walk->value) % walk->length;
	else
		place = (offset + (walk->value * GOLDEN_RATIO_32 >> (32 - HASH_TABLE_BITS))) %
			walk->length;
	member = lookup(ring_members, walk->first + place);
	return member ? *member : 0;
}

/* The place of a packet is where the fallback begins to count from, not what it tries first. */
static __always_inline __u32 hash_offset(const struct hash_walk *walk)
{
	if (walk->scheduler == SCHEDULER_MH)
		return maglev_hash(walk->value) % walk->length;
	return (walk->value * GOLDEN_RATIO_32 >> (32 - HASH_TABLE_BITS)) % walk->length;
}

static long hash_try(__u32 i, void *context)
{
	struct hash_walk *walk = context;
	__u32 id;

	if (!walk->length)
		return 1;
	id = hash_member(walk, (walk->offset + i) % walk->length);
	if (!id_may_be_scheduled(id))
		return 0;
	walk->found = id;
	return 1;
}

static __always_inline __u32 fold_address(const __be32 *address)
{
	return bpf_ntohl(address[0] ^ address[1] ^ address[2] ^ address[3]);
}

__noinline int hash_choose(const struct packet *packet)
{
	struct hash_walk walk = {};
	struct ring_segment *segment;
	struct service *service;
	__u32 id;

	if (!packet)
		return 0;
	service = lookup(services, packet->service);
	if (!service)
		return 0;
	segment = lookup(ring_segments, service->ring_segment);
	walk.length = service->ring_length;
	if (!segment || !walk.length)
		return 0;
	walk.first = segment->first;
	walk.scheduler = service->scheduler;
	walk.value = fold_address(service->scheduler == SCHEDULER_DH ? packet->destination
								     : packet->source);
	if (service->scheduler != SCHEDULER_DH && service->scheduler_flags & SCHEDULER_PORT)
		walk.value += bpf_ntohs(packet->source_port);
	id = hash_member(&walk, 0);
	if (id_may_be_scheduled(id))
		return id;
	if (service->scheduler == SCHEDULER_DH || !(service->scheduler_flags & SCHEDULER_FALLBACK))
		return 0;
	walk.offset = hash_offset(&walk);
	bpf_loop(walk.length, hash_try, &walk, 0);
	return walk.found;
}

#endif
