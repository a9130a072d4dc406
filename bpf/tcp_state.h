/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP flags and state -> next state, the three tables of the kernel's IPVS
 * (net/netfilter/ipvs/ip_vs_proto_tcp.c, tcp_states): what the client sends
 * where the replies pass by the director (gate, ipip), and both directions
 * where they pass through it (masq). Four bits a state, lowest first.
 */
#ifndef TCP_STATE_H
#define TCP_STATE_H

#include "director.h"
#include "packet.h"

#define NEXT(from, to) ((__u64)STATE_##to << (4 * STATE_##from))

/* As the kernel's table has them: none, established, ..., synack. */
#define ROW(no, es, ss, sr, fw, tw, cl, cw, la, li, sa)                                      \
	(NEXT(NONE, no) | NEXT(ESTABLISHED, es) | NEXT(SYN_SENT, ss) | NEXT(SYN_RECV, sr) |  \
	 NEXT(FIN_WAIT, fw) | NEXT(TIME_WAIT, tw) | NEXT(CLOSE, cl) | NEXT(CLOSE_WAIT, cw) | \
	 NEXT(LAST_ACK, la) | NEXT(LISTEN, li) | NEXT(SYNACK, sa))

enum tcp_row {
	ROW_SYN = 0,
	ROW_FIN = 1,
	ROW_ACK = 2,
	ROW_RST = 3,
	ROWS_OF_REQUEST = 0, /* the client's packets, replies seen as well */
	ROWS_OF_REPLY = 4,
	ROWS_OF_REQUEST_ONLY = 8,
};

/* clang-format off */
static const __u64 tcp_rows[12] = {
	[ROWS_OF_REQUEST + ROW_SYN] = ROW(SYN_RECV, ESTABLISHED, ESTABLISHED, SYN_RECV, SYN_RECV,
		SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV),
	[ROWS_OF_REQUEST + ROW_FIN] = ROW(CLOSE, CLOSE_WAIT, SYN_SENT, TIME_WAIT, TIME_WAIT,
		TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, TIME_WAIT),
	[ROWS_OF_REQUEST + ROW_ACK] = ROW(ESTABLISHED, ESTABLISHED, SYN_SENT, ESTABLISHED, FIN_WAIT,
		TIME_WAIT, CLOSE, CLOSE_WAIT, CLOSE, LISTEN, ESTABLISHED),
	[ROWS_OF_REQUEST + ROW_RST] = ROW(CLOSE, CLOSE, CLOSE, SYN_RECV, CLOSE,
		CLOSE, CLOSE, CLOSE, LAST_ACK, LISTEN, SYN_RECV),

	[ROWS_OF_REPLY + ROW_SYN] = ROW(SYN_SENT, ESTABLISHED, SYN_SENT, SYN_RECV, SYN_SENT,
		SYN_SENT, SYN_SENT, SYN_SENT, SYN_SENT, LISTEN, SYN_RECV),
	[ROWS_OF_REPLY + ROW_FIN] = ROW(TIME_WAIT, FIN_WAIT, SYN_SENT, TIME_WAIT, FIN_WAIT,
		TIME_WAIT, CLOSE, TIME_WAIT, LAST_ACK, LISTEN, TIME_WAIT),
	[ROWS_OF_REPLY + ROW_ACK] = ROW(ESTABLISHED, ESTABLISHED, SYN_SENT, ESTABLISHED, FIN_WAIT,
		TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, ESTABLISHED, ESTABLISHED),
	[ROWS_OF_REPLY + ROW_RST] = ROW(CLOSE, CLOSE, SYN_SENT, CLOSE, CLOSE,
		TIME_WAIT, CLOSE, CLOSE, CLOSE, CLOSE, CLOSE),

	[ROWS_OF_REQUEST_ONLY + ROW_SYN] = ROW(SYN_RECV, ESTABLISHED, ESTABLISHED, SYN_RECV, SYN_RECV,
		SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV, SYN_RECV),
	[ROWS_OF_REQUEST_ONLY + ROW_FIN] = ROW(CLOSE, FIN_WAIT, SYN_SENT, TIME_WAIT, FIN_WAIT,
		TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, TIME_WAIT),
	[ROWS_OF_REQUEST_ONLY + ROW_ACK] = ROW(ESTABLISHED, ESTABLISHED, SYN_SENT, ESTABLISHED, FIN_WAIT,
		TIME_WAIT, CLOSE, CLOSE_WAIT, CLOSE, LISTEN, ESTABLISHED),
	[ROWS_OF_REQUEST_ONLY + ROW_RST] = ROW(CLOSE, CLOSE, CLOSE, SYN_RECV, CLOSE,
		CLOSE, CLOSE, CLOSE, LAST_ACK, LISTEN, CLOSE),
};
/* clang-format on */

static __always_inline __u32 rows_of(__u32 event)
{
	if (!(event & EVENT_TWO_WAY))
		return ROWS_OF_REQUEST_ONLY;
	return event & EVENT_REPLY ? ROWS_OF_REPLY : ROWS_OF_REQUEST;
}

/* Nothing of SYN, FIN, RST and ACK closes the connection in the kernel. */
static __always_inline __u32 tcp_next_state(__u32 state, __u32 event)
{
	__u32 row;

	if (event & TCP_RST)
		row = ROW_RST;
	else if (event & TCP_SYN)
		row = ROW_SYN;
	else if (event & TCP_FIN)
		row = ROW_FIN;
	else if (event & TCP_ACK)
		row = ROW_ACK;
	else
		return STATE_CLOSE;
	row += rows_of(event);
	/* Linux 6.1 loses the bounds of a 32-bit OR ("math between map_value pointer and register with unbounded min value"). */
	asm volatile("" : "+r"(row));
	return row < 12 ? tcp_rows[row] >> (4 * (state & 15)) & 15 : STATE_CLOSE;
}

#endif
