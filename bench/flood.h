/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the flood's program is told before it is loaded. */
#ifndef FLOOD_H
#define FLOOD_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>

/* Copied by words, which is why it ends behind the packet. */
struct datagram {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed, aligned(8)));

struct flood_options {
	struct datagram model; /* all but the source port; without a UDP checksum */
	__u32 flows;
	__u32 out; /* the interface's number */
};

#endif
