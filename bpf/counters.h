/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Per-CPU counting. A packet that is not forwarded adds to exactly one member
 * of struct packet_counters; a forwarded one to its real server.
 */
#ifndef COUNTERS_H
#define COUNTERS_H

#include "maps.h"

#define COUNTER(member) (__builtin_offsetof(struct packet_counters, member) / sizeof(__u64))

static __always_inline void count(__u32 counter)
{
	struct packet_counters *counters = lookup(packet_counters, 0);

	if (counters && counter < sizeof(*counters) / sizeof(__u64))
		((__u64 *)counters)[counter]++;
}

static __always_inline int pass(__u32 counter)
{
	count(counter);
	return XDP_PASS;
}

static __always_inline int drop(__u32 counter)
{
	count(counter);
	return XDP_DROP;
}

/*
 * Of a real server, in an array that has a row for each CPU: no two CPUs write
 * to one page, as in a per-CPU map, but no pointer is fetched on the way (that
 * of each real server lies in a line of its own), and user space reads without
 * a call.
 */
static __always_inline __u32 counters_place(__u32 real_server)
{
	return bpf_get_smp_processor_id() * MAX_REAL_SERVERS + real_server;
}

static __always_inline void count_packet(__u32 real_server, __u32 bytes)
{
	struct real_server_counters *counters =
		lookup(real_server_counters, counters_place(real_server));

	if (counters) {
		counters->packets++;
		counters->bytes += bytes;
	}
}

static __always_inline void count_connection(__u32 real_server)
{
	struct real_server_counters *counters =
		lookup(real_server_counters, counters_place(real_server));

	if (counters)
		counters->connections++;
}

#endif
