/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP chunk and state -> next state, the tables of the kernel's IPVS
 * (net/netfilter/ipvs/ip_vs_proto_sctp.c, sctp_states) in the order of
 * tcp_state.h. Four bits a state, counted from STATE_SCTP_NONE, lowest first.
 */
#ifndef SCTP_STATE_H
#define SCTP_STATE_H

#include "director.h"
#include "packet.h"

enum sctp_event {
	SCTP_DATA = 0, /* DATA, SACK, HEARTBEAT and everything unknown */
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_COOKIE_ECHO = 3,
	SCTP_COOKIE_ACK = 4,
	SCTP_SHUTDOWN = 5,
	SCTP_SHUTDOWN_ACK = 6,
	SCTP_SHUTDOWN_COMPLETE = 7,
	SCTP_ERROR = 8,
	SCTP_ABORT = 9,
	SCTP_EVENTS = 10,
};

/* Chunk types of RFC 9260, section 3.2. */
#define CHUNK_COOKIE_ECHO 10
#define CHUNK_COOKIE_ACK 11
#define CHUNK_ABORT 6
#define CHUNK_TYPES 15

/* The event of each chunk type, four bits each. An array of 16 bytes would go to a section of its own. */
#define EVENT_OF(chunk, event) ((__u64)SCTP_##event << (4 * (chunk)))

static __always_inline __u32 chunk_event(__u32 type)
{
	const __u64 events =
		EVENT_OF(1, INIT) | EVENT_OF(2, INIT_ACK) | EVENT_OF(CHUNK_ABORT, ABORT) |
		EVENT_OF(7, SHUTDOWN) | EVENT_OF(8, SHUTDOWN_ACK) | EVENT_OF(9, ERROR) |
		EVENT_OF(CHUNK_COOKIE_ECHO, COOKIE_ECHO) | EVENT_OF(CHUNK_COOKIE_ACK, COOKIE_ACK) |
		EVENT_OF(14, SHUTDOWN_COMPLETE);

	return type < CHUNK_TYPES ? events >> (4 * type) & 15 : SCTP_DATA;
}

/* A hexadecimal digit is a state: 0 NONE, 1 INIT1, 2 INIT, 3 COOKIE_SENT, 4 COOKIE_REPLIED,
 * 5 COOKIE_WAIT, 6 COOKIE, 7 COOKIE_ECHOED, 8 ESTABLISHED, 9 SHUTDOWN_SENT,
 * a SHUTDOWN_RECEIVED, b SHUTDOWN_ACK_SENT, c REJECTED, d CLOSED; the rightmost is after NONE. */
/* clang-format off */
static const __u64 sctp_rows[3 * SCTP_EVENTS] = {
	/* the client's packets, where replies are seen as well */
	0xdcba9876543218, /* data */
	0x22ba9876543221, /* init */
	0xdcba9876643555, /* init ack */
	0xdcba9876544224, /* cookie echo */
	0xdcba9886543218, /* cookie ack */
	0xdcba9a7654321a, /* shutdown */
	0xdcdad87654322d, /* shutdown ack */
	0xdcda9876543ddd, /* shutdown complete */
	0xdcba98d654321d, /* error */
	0xddddddddcddddd, /* abort */
	/* replies */
	0xdcba9876543218, /* data */
	0x55555855555555, /* init */
	0xdcba9876543333, /* init ack */
	0xdcba9877777777, /* cookie echo */
	0xdcba9888888888, /* cookie ack */
	0xdcba9999999999, /* shutdown */
	0xdcbbb8765bbbbb, /* shutdown ack */
	0xdcba987654321d, /* shutdown complete */
	0xdcba98765ddddd, /* error */
	0xddddddddddddcd, /* abort */
	/* the client's packets, where no replies are seen */
	0xdcba9876843218, /* data */
	0x22ba9876222221, /* init */
	0xdcba9876777777, /* init ack */
	0xdcba9876888888, /* cookie echo */
	0xdcba9888588218, /* cookie ack */
	0xdcba9a7654321a, /* shutdown */
	0xdcdadd7654322d, /* shutdown ack */
	0xdcdd98765ddddd, /* shutdown complete */
	0xdcba987654321d, /* error */
	0xddddddddcddddd, /* abort */
};
/* clang-format on */

static __always_inline __u32 sctp_next_state(__u32 state, __u32 event)
{
	__u32 row = event & 0xf;

	if (!(event & EVENT_TWO_WAY))
		row += 2 * SCTP_EVENTS;
	else if (event & EVENT_REPLY)
		row += SCTP_EVENTS;
	if (row >= 3 * SCTP_EVENTS)
		return state;
	return STATE_SCTP_NONE + (sctp_rows[row] >> (4 * (state & 15)) & 15);
}

#endif
