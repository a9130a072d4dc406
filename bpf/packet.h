/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the stages know about the packet in hand. Packet pointers are not in
 * it: every stage takes them from the context anew.
 */
#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_STATE_FLAGS (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK) /* what a state goes by */

/*
 * What a packet tells of its connection: TCP flags or enum sctp_event in the
 * lowest byte, and what is no such thing above it.
 */
#define HEADER_SHORT 0x100  /* the header ends before the flags, or before its fixed part */
#define EVENT_TWO_WAY 0x200 /* the replies pass through the director, too */
#define EVENT_REPLY 0x400

struct packet {
	__be32 source[4]; /* IPv4 in [3] */
	__be32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u32 flags;	 /* TCP flags or enum sctp_event; HEADER_SHORT */
	__u32 bytes;	 /* IP length, header included */
	__u16 l2_length; /* 14, 18 or 22 bytes */
	__u16 l4_offset; /* from the frame's start */
	__u8 protocol;	 /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	__u8 ttl;
	__u8 family;   /* enum address_family, a constant at compile time */
	__u8 fragment; /* enum fragment_place */
	__u32 fragment_id;
	__u32 service;	   /* index into services */
	__u16 ingress_mtu; /* 0: unknown */
	__u16 reserved;
	__u64 hash; /* connection_hash() */
};

enum fragment_place {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,
};

/* As connection_hash() takes them. */
static __always_inline __u32 packet_ports(const struct packet *packet)
{
	return (__u32)packet->source_port << 16 | packet->destination_port;
}

static __always_inline bool is_same_address(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* The verifier wants to see bounds that the values always keep. */
static __always_inline __u32 link_length(const struct packet *packet)
{
	return packet->l2_length & 31;
}

static __always_inline __u32 transport_offset(const struct packet *packet)
{
	return packet->l4_offset & 0xfff;
}

#endif
