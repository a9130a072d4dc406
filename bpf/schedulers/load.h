/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every scheduler asks of a real server's load, and the thresholds of
 * ipvsadm's -x and -y: a real server that has as many connections as its upper
 * threshold gets no new one until it has fewer than its lower threshold, or
 * than three quarters of the upper one (ip_vs_bind_dest() and
 * ip_vs_unbind_dest() of net/netfilter/ipvs/ip_vs_conn.c). The flag lies in
 * the weight, so that whoever looks at the weight has looked at both.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>

#include "maps.h"

/*
 * A 0 that the verifier does not know to be one, from any 64 bits. From 6.7 on it follows a loop's
 * callback until nothing new comes; a count that begins with a known number
 * is something new each time ("The sequence of 8193 jumps is too complex").
 */
static __always_inline __u64 unknown_zero(__u64 unknown)
{
	__u64 copy = unknown;

	asm volatile("" : "+r"(copy));
	return copy ^ unknown;
}

static __always_inline __u32 load_weight(const struct real_server_load *load)
{
	return load->weight & ~LOAD_OVERLOADED;
}

/* It has a weight and is not overloaded. */
static __always_inline bool may_be_scheduled(const struct real_server_load *load)
{
	return (__s32) * (volatile __u32 *)&load->weight > 0;
}

static __always_inline bool id_may_be_scheduled(__u32 id)
{
	struct real_server_load *load = lookup(real_server_loads, id);

	return id && load && may_be_scheduled(load);
}

static __always_inline __u32 load_connections(const struct real_server_load *load)
{
	return *(volatile __u32 *)&load->active + *(volatile __u32 *)&load->inactive;
}

static __always_inline bool is_over_upper(const struct real_server *real_server,
					  const struct real_server_load *load)
{
	__u32 upper = *(volatile __u32 *)&real_server->upper_threshold;

	return upper && load_connections(load) >= upper;
}

static __always_inline bool is_under_lower(const struct real_server *real_server,
					   const struct real_server_load *load)
{
	__u32 upper = *(volatile __u32 *)&real_server->upper_threshold;
	__u32 lower = *(volatile __u32 *)&real_server->lower_threshold;
	__u64 connections = load_connections(load);

	if (lower)
		return connections < lower;
	return !upper || connections * 4 < (__u64)upper * 3;
}

/*
 * A connection was opened. Whoever has set or cleared the flag looks at the
 * counts once more: another CPU may have changed them and seen the old flag.
 */
static __always_inline void threshold_opened(const struct real_server *real_server,
					     struct real_server_load *load)
{
	if (!is_over_upper(real_server, load))
		return;
	__sync_fetch_and_or(&load->weight, LOAD_OVERLOADED);
	if (is_under_lower(real_server, load))
		__sync_fetch_and_and(&load->weight, ~LOAD_OVERLOADED);
}

/* A connection of an overloaded real server was closed. */
static __always_inline void threshold_closed(const struct real_server *real_server,
					     struct real_server_load *load)
{
	if (!is_under_lower(real_server, load))
		return;
	__sync_fetch_and_and(&load->weight, ~LOAD_OVERLOADED);
	if (is_over_upper(real_server, load))
		__sync_fetch_and_or(&load->weight, LOAD_OVERLOADED);
}

#endif
