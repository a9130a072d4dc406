/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Checksums of packets that are changed or wrapped. What changes is taken out
 * of the sum and put in again (RFC 1624), so that a wrong checksum stays wrong
 * and the rest of the packet need not be read.
 */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include "maps.h"

#define CHECKSUM_BLOCK 512  /* bytes that bpf_csum_diff() takes at once */
#define CHECKSUM_BLOCKS 128 /* any packet, also what GRO has merged */

/* The Internet checksum of what was summed up, RFC 1071. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* What a sum grows by when one word becomes another; of 16 or 32 bits, both in network byte order. */
static __always_inline __u64 difference(__u32 from, __u32 to)
{
	return (__u64)(__u32)~from + to;
}

static __always_inline __u64 difference16(__u16 from, __u16 to)
{
	return (__u64)(__u16)~from + to;
}

/* `change` is a sum of differences. */
static __always_inline __u16 checksum_adapted(__u16 checksum, __u64 change)
{
	return fold((__u64)(__u16)~checksum + change);
}

/* The sum over bytes of the frame, unfolded, at an even distance from where the sum begins; -1: there are not so many. */
__noinline long sum_of(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	struct scratch *scratch = lookup(scratches, 0);
	__u32 rest = length;
	__s64 sum = 0;

	if (!scratch)
		return -1;
	for (int block = 0; block < CHECKSUM_BLOCKS && rest >= CHECKSUM_BLOCK; block++) {
		if (bpf_xdp_load_bytes(ctx, offset, scratch->block, CHECKSUM_BLOCK))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)scratch->block, CHECKSUM_BLOCK, sum);
		offset += CHECKSUM_BLOCK;
		rest -= CHECKSUM_BLOCK;
	}
	if (rest >= CHECKSUM_BLOCK || sum < 0)
		return -1;
	if (!rest)
		return sum;
	/* One less, as asking for "not 0" leaves Linux 6.1 without a lower bound. */
	rest = (rest - 1) & (CHECKSUM_BLOCK - 1);
	*(__u32 *)(scratch->block + (rest & ~3U)) = 0;
	if (bpf_xdp_load_bytes(ctx, offset, scratch->block, rest + 1))
		return -1;
	return bpf_csum_diff(NULL, 0, (__be32 *)scratch->block, (rest & ~3U) + 4, sum);
}

/* x to the power of 8 * 2^n modulo the polynomial of CRC-32C, bits reflected. */
static const __u32 crc_powers[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a,
	0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a,
	0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

#define CRC32C_POLYNOMIAL 0x82f63b78U

/* Product of two polynomials modulo CRC-32C's, bits reflected. */
__noinline __u32 crc_product(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int bit = 0; bit < 32; bit++) {
		product ^= b * (a >> 31);
		a <<= 1;
		b = b >> 1 ^ CRC32C_POLYNOMIAL * (b & 1);
	}
	return product;
}

/*
 * What the CRC-32C of a message changes by when 16 bits of it change by
 * `change` (exclusive or, as they lie in memory) and `behind` bytes follow.
 */
static __always_inline __u32 crc_change(__u16 change, __u32 behind)
{
	__u32 crc = change;

	for (int bit = 0; bit < 16; bit++)
		crc = crc >> 1 ^ CRC32C_POLYNOMIAL * (crc & 1);
	for (int n = 0; n < 16; n++)
		if (behind >> n & 1)
			crc = crc_product(crc_powers[n], crc);
	return crc;
}

#endif
