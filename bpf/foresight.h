/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What opening a connection will write, loaded while its line of slots comes
 * from memory, not after it: two cache misses at once in place of one after
 * the other. Nothing waits for the values. Of IPv4 there is nothing to do, for
 * the details lie in the line beside the slots, which the processor fetches
 * with it.
 */
#ifndef FORESIGHT_H
#define FORESIGHT_H

#include "connection.h"

/* Where the first 96 bits of an IPv6 client go: two lines, of whose eight entries one will be written. */
static __always_inline void foresee_opening(__u64 hash)
{
	const __u32 per_line = 64 / sizeof(struct connection_extra);

#pragma unroll
	for (__u32 place = 0; place < SLOTS_PER_LINE; place += per_line) {
		struct connection_extra *extra =
			lookup(connection_extras, hash_line(hash) * SLOTS_PER_LINE + place);

		if (extra)
			(void)*(volatile __u32 *)&extra->client[0];
	}
}

#endif
