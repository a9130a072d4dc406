/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP flags and state -> next state, as the kernel's IPVS does it for
 * connections whose replies it does not see (net/netfilter/ipvs/
 * ip_vs_proto_tcp.c, the INPUT-ONLY rows). Four bits a state, lowest first.
 */
#ifndef TCP_STATE_H
#define TCP_STATE_H

#include "director.h"
#include "packet.h"

#define NEXT(from, to) ((__u64)STATE_##to << (4 * STATE_##from))

static const __u64 after_syn =
	NEXT(NONE, SYN_RECV) | NEXT(ESTABLISHED, ESTABLISHED) | NEXT(SYN_SENT, ESTABLISHED) |
	NEXT(SYN_RECV, SYN_RECV) | NEXT(FIN_WAIT, SYN_RECV) | NEXT(TIME_WAIT, SYN_RECV) |
	NEXT(CLOSE, SYN_RECV) | NEXT(CLOSE_WAIT, SYN_RECV) | NEXT(LAST_ACK, SYN_RECV) |
	NEXT(LISTEN, SYN_RECV) | NEXT(SYNACK, SYN_RECV);
static const __u64 after_fin =
	NEXT(NONE, CLOSE) | NEXT(ESTABLISHED, FIN_WAIT) | NEXT(SYN_SENT, SYN_SENT) |
	NEXT(SYN_RECV, TIME_WAIT) | NEXT(FIN_WAIT, FIN_WAIT) | NEXT(TIME_WAIT, TIME_WAIT) |
	NEXT(CLOSE, CLOSE) | NEXT(CLOSE_WAIT, CLOSE_WAIT) | NEXT(LAST_ACK, LAST_ACK) |
	NEXT(LISTEN, LISTEN) | NEXT(SYNACK, TIME_WAIT);
static const __u64 after_ack =
	NEXT(NONE, CLOSE) | NEXT(ESTABLISHED, ESTABLISHED) | NEXT(SYN_SENT, SYN_SENT) |
	NEXT(SYN_RECV, ESTABLISHED) | NEXT(FIN_WAIT, FIN_WAIT) | NEXT(TIME_WAIT, TIME_WAIT) |
	NEXT(CLOSE, CLOSE) | NEXT(CLOSE_WAIT, CLOSE_WAIT) | NEXT(LAST_ACK, CLOSE) |
	NEXT(LISTEN, LISTEN) | NEXT(SYNACK, ESTABLISHED);
static const __u64 after_rst = NEXT(NONE, CLOSE) | NEXT(ESTABLISHED, CLOSE) |
			       NEXT(SYN_SENT, CLOSE) | NEXT(SYN_RECV, SYN_RECV) |
			       NEXT(FIN_WAIT, CLOSE) | NEXT(TIME_WAIT, CLOSE) | NEXT(CLOSE, CLOSE) |
			       NEXT(CLOSE_WAIT, CLOSE) | NEXT(LAST_ACK, LAST_ACK) |
			       NEXT(LISTEN, LISTEN) | NEXT(SYNACK, CLOSE);

/* Nothing of SYN, FIN, RST and ACK closes the connection in the kernel. */
static __always_inline __u32 tcp_next_state(__u32 state, __u32 flags)
{
	__u64 row;

	if (flags & TCP_RST)
		row = after_rst;
	else if (flags & TCP_SYN)
		row = after_syn;
	else if (flags & TCP_FIN)
		row = after_fin;
	else if (flags & TCP_ACK)
		row = after_ack;
	else
		return STATE_CLOSE;
	return row >> (4 * (state & 15)) & 15;
}

static __always_inline __u32 next_state(const struct packet *packet, __u32 state)
{
	if (packet->protocol != IPPROTO_TCP || packet->flags & HEADER_SHORT)
		return state;
	if (state == STATE_ESTABLISHED &&
	    (packet->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK)
		return state;
	return tcp_next_state(state, packet->flags);
}

#endif
