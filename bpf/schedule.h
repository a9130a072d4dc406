/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 4: no connection yet (ip_vs_schedule() of ip_vs_core.c). Decides whether the packet may open one, chooses
 * a real server by template or scheduler, and opens the connection. Leaves a
 * real-server id behind, or an XDP action.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "fellow.h"
#include "icmp.h"
#include "limit.h"
#include "persistence.h"
#include "service.h"
#include "untracked.h"

/* schedule() and forward() return a real-server id above 0, or an action as -action. */
#define ACTION(action) (-(action))

/* Not an address that the stack refuses as a source, ip_route_input_slow() of net/ipv4/route.c. */
static __always_inline bool source_possible(const struct packet *packet)
{
	__u32 first = packet->source[3] & 0xff;

	if (packet->family == FAMILY_IPV6) {
		if ((packet->source[0] & 0xff) == 0xff)
			return false;
		return packet->source[0] || packet->source[1] || packet->source[2] ||
		       packet->source[3] != bpf_htonl(1);
	}
	return packet->source[3] && first != 127 && (first & 0xf0) != 224 && ~packet->source[3];
}

/* Nor one of this machine. */
static __always_inline bool source_allowed(const struct packet *packet)
{
	return source_possible(packet) &&
	       (packet->family == FAMILY_IPV6 || !maybe_own_address(packet->source) ||
		!is_own_address(packet));
}

static __always_inline int refuse(struct xdp_md *ctx, const struct packet *packet)
{
	int action = icmp_error(ctx, packet, ICMP_ERROR_PORT_UNREACHABLE, 0);

	count(action == XDP_TX ? COUNTER(icmp_unreachable) : COUNTER(drop_no_real_server));
	return ACTION(action);
}

/* Whether a packet without a connection may open one, tcp_conn_schedule() and sctp_conn_schedule(). */
static __always_inline bool may_open(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return !(packet->flags & TCP_RST) &&
		       (packet->flags & TCP_SYN || settings.sloppy_tcp);
	case IPPROTO_SCTP:
		return packet->flags == SCTP_INIT ||
		       (settings.sloppy_sctp && packet->flags != SCTP_ABORT);
	default:
		return true;
	}
}

static __always_inline __u32 first_state(const struct packet *packet, __u32 id)
{
	struct real_server *real_server = lookup(real_servers, id);
	__u32 event = packet->flags;

	if (packet->protocol == IPPROTO_UDP)
		return STATE_UDP_NEW;
	if (real_server && real_server->method == METHOD_MASQ)
		event |= EVENT_TWO_WAY;
	return packet->protocol == IPPROTO_TCP ? tcp_next_state(STATE_NONE, event)
					       : sctp_next_state(STATE_SCTP_NONE, event);
}

/* The plane behind the stack opens it, and must meet its later packets as well. */
static __always_inline int leave_to_stack(__u32 replaced_index, __u64 replaced_word)
{
	if (replaced_word)
		close_slot(replaced_index, replaced_word);
	return ACTION(pass(COUNTER(pass_not_service)));
}

/* Whom a packet goes to that should have opened a connection and has not; `opened`: what connection_open() has returned. */
__noinline int not_opened(const struct service *service, __u64 hash, __u32 protocol, __u32 chosen,
			  int opened)
{
	struct connection winner = {};
	__u32 id;

	if (opened < 0)
		return connection_lookup(hash, &winner) ? word_real_server(winner.word) : chosen;
	/* No slot to be had: what every later packet of it will get as well. */
	id = go_untracked(service, hash, protocol);
	return id ? id : chosen;
}

static __always_inline __u32 opened_to(const struct packet *packet, const struct service *service,
				       __u32 chosen, int opened)
{
	return opened > 0 ? chosen
			  : not_opened(service, packet->hash, packet->protocol, chosen, opened);
}

/* A word that is not 0 is that of a slot whose connection ends with this one's opening. */
static __always_inline int schedule(struct xdp_md *ctx, const struct packet *packet,
				    __u32 replaced_index, __u64 replaced_word)
{
	struct service *service = lookup(services, packet->service);
	struct choice choice = {};
	__u32 state;
	int opened;

	if (!service)
		return ACTION(pass(COUNTER(pass_not_service)));
	if (service->flags & SERVICE_LEAVING)
		return leave_to_stack(replaced_index, replaced_word);
	if (settings.fellows && is_directed(ctx, packet))
		return ACTION(pass(COUNTER(pass_directed)));
	if (packet->flags & HEADER_SHORT)
		return ACTION(drop(COUNTER(drop_short_header)));
	if (!may_open(packet)) {
		int id = choose_untracked(packet, service);

		return id ? id : ACTION(pass(COUNTER(pass_no_connection)));
	}
	if (!source_allowed(packet))
		return ACTION(pass(COUNTER(pass_source_address)));
	if (packet->source_port == bpf_htons(FTP_DATA_PORT))
		return ACTION(pass(COUNTER(pass_no_connection)));
	if (settings.limits && !within_limits(packet, service))
		return ACTION(XDP_DROP);

	if (service->persistence_timeout) {
		choose_by_template(packet, &choice);
		if (!choice.real_server)
			choose_for_template(packet, &choice);
	} else {
		/* Nor is FTP's data connection balanced by itself. */
		if (service->port != packet->destination_port)
			return ACTION(pass(COUNTER(pass_not_service)));
		choice.real_server = scheduler_choose(packet, service);
	}
	if (!choice.real_server)
		return refuse(ctx, packet);

	if (replaced_word)
		close_slot(replaced_index, replaced_word);
	if (service->flags & SERVICE_ONE_PACKET && packet->protocol == IPPROTO_UDP) {
		count_connection(choice.real_server);
		return choice.real_server;
	}
	state = first_state(packet, choice.real_server);
	opened = connection_open(packet, choice.real_server, state);
	if (opened > 0) {
		if (choice.template)
			link_template(opened - 1, choice.template);
		if (service->tree_leaves || service->flags & SERVICE_THRESHOLDS)
			change_load(choice.real_server, is_active(state), !is_active(state));
		else
			load_opened(choice.real_server, state);
	}
	return opened_to(packet, service, choice.real_server, opened);
}

#endif
