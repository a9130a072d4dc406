/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The border between generator.bpf.c and generator.ts: what packets are to be
 * made. All fields are in the host's byte order, the frame is as on the wire.
 */
#ifndef PLAN_H
#define PLAN_H

#include <linux/types.h>

#define MAX_CPUS 64
#define IPV4_FRAME 64
#define IPV6_FRAME 80

enum order {
	ORDER_SEQUENCE = 0, /* every flow once, in the order of their numbers */
	ORDER_RANDOM = 1,   /* one of the live flows, at random */
	ORDER_CHURN = 2,    /* connections begin, live for some packets, and end */
};

/* Written by user space between two runs. */
struct plan {
	__u32 order; /* enum order */
	__u32 flows; /* live at a time; ORDER_CHURN: a power of two */
	__u32 tcp_flags;
	__u32 packets_per_connection; /* ORDER_CHURN */
	__u32 service_mask;	      /* services less one; their number is a power of two */
	__u32 ip_sum;		      /* over the 16-bit words of the frame's IPv4 header */
	__u32 reserved[2];
	__u8 frame[IPV6_FRAME]; /* where address, ports and flags of a flow are 0 */
	__u32 reserved2[4];
};

/* Of each CPU. User space sets the beginning, the generator goes on from there. */
struct progress {
	__u64 random;
	__u64 packets; /* made since loading */
	__u32 next;    /* ORDER_SEQUENCE, ORDER_CHURN: number of the next flow, or its place */
	__u32 pass;    /* ORDER_CHURN: how often all live flows have had a packet */
	__u32 first;   /* added to every flow's number: CPUs do not share flows */
	__u32 faults;  /* frames whose length a program had changed */
	__u64 reserved[4];
};

_Static_assert(sizeof(struct plan) == 128, "plan");
_Static_assert(sizeof(struct progress) == 64, "progress");

#endif
