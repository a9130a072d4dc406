// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Makes a packet and hands it to the program under test, again and again:
 * BPF_PROG_TEST_RUN gives every iteration the frame as the last one has left
 * it, so the frame is written anew each time, as the next packet of a flow.
 * The transport checksum is left 0: no program under test looks at it.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "plan.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define FIRST_PORT 1024

/* Offsets from the frame's start; of addresses the last 16 bits. */
#define IPV4_CHECKSUM 24
#define IPV4_SOURCE 28
#define IPV4_DESTINATION 32
#define IPV4_TRANSPORT 34
#define IPV6_SOURCE 36
#define IPV6_DESTINATION 52
#define IPV6_TRANSPORT 54
#define TCP_FLAGS 13

/* Set before load. */
const volatile bool ipv6 = false;
const volatile bool tcp = true;

struct plan plan SEC(".data.plan") = {};
struct progress progresses[MAX_CPUS] SEC(".data.progress") = {};

/* The program under test. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} target SEC(".maps");

/*
 * All live flows have a packet in each pass, in an order that jumps about. A
 * flow's place gives the pass it begins in, so that flows of all ages are there.
 */
static __always_inline __u32 churn(struct progress *progress, __u32 *flags)
{
	__u32 place = progress->next * 0x9e3779b1U & (plan.flows - 1);
	__u32 age = progress->pass + place;
	__u32 generation = age / plan.packets_per_connection;

	age %= plan.packets_per_connection;
	if (!age)
		*flags = TCP_SYN;
	else if (age == plan.packets_per_connection - 1)
		*flags = TCP_FIN | TCP_ACK;
	else
		*flags = TCP_ACK;
	if (++progress->next >= plan.flows) {
		progress->next = 0;
		progress->pass++;
	}
	return place + plan.flows * generation;
}

static __always_inline __u32 next_flow(struct progress *progress, __u32 *flags)
{
	if (plan.order == ORDER_RANDOM) {
		progress->random =
			progress->random * 6364136223846793005ULL + 1442695040888963407ULL;
		return (progress->random >> 32) * plan.flows >> 32;
	}
	if (plan.order == ORDER_CHURN)
		return churn(progress, flags);
	return progress->next++;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline int fault(struct progress *progress)
{
	progress->faults++;
	return XDP_ABORTED;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct progress *progress = &progresses[bpf_get_smp_processor_id() & (MAX_CPUS - 1)];
	__u32 flow, client, flags = plan.tcp_flags, length = ipv6 ? IPV6_FRAME : IPV4_FRAME;
	__u16 source, destination, port;
	void *transport = data + (ipv6 ? IPV6_TRANSPORT : IPV4_TRANSPORT);
	void *end = data + length;
	__u64 *to = data, *from = (__u64 *)plan.frame;

	if (end > data_end)
		return fault(progress);
	/* Or clang 14 makes one comparison of both, of which the verifier learns nothing. */
	barrier_var(end);
	if (end < data_end)
		return fault(progress);

	/* 65536 clients, then further ports of each: 2^31 flows, all different. */
	flow = next_flow(progress, &flags) + progress->first;
	client = flow * 0x9e3b & 0xffff;
	source = bpf_htons(client);
	destination = bpf_htons(flow & plan.service_mask);
	port = bpf_htons(FIRST_PORT + ((flow >> 16) + client * 31 & 0x7fff));

	for (int i = 0; i < IPV4_FRAME / 8; i++)
		to[i] = from[i];
	if (ipv6) {
		for (int i = IPV4_FRAME / 8; i < IPV6_FRAME / 8; i++)
			to[i] = from[i];
		*(__u16 *)(data + IPV6_SOURCE) = source;
		*(__u16 *)(data + IPV6_DESTINATION) = destination;
	} else {
		*(__u16 *)(data + IPV4_SOURCE) = source;
		*(__u16 *)(data + IPV4_DESTINATION) = destination;
		*(__u16 *)(data + IPV4_CHECKSUM) = ~fold(plan.ip_sum + source + destination);
	}
	*(__u16 *)transport = port;
	if (tcp)
		*(__u8 *)(transport + TCP_FLAGS) = flags;

	/*
	 * A locked addition waits until the frame has reached the cache. The
	 * program under test then reads it there, not from the store buffer,
	 * and the CPU does not work on two packets at a time.
	 */
	__sync_fetch_and_add(&progress->packets, 1);
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

/* What is subtracted: all that is not the program under test. */
SEC("xdp")
int answer(struct xdp_md *ctx)
{
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
