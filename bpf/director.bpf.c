// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The director: every packet's way, from the stages in their order. A frame
 * that is not for a virtual service, or that the stack should answer, is
 * passed to the stack untouched.
 */
#include "director.h"
#include "maps.h"
#include "counters.h"
#include "packet.h"
#include "parse.h"
#include "service.h"
#include "connection.h"
#include "expiry.h"
#include "foresight.h"
#include "fragment.h"
#include "schedule.h"
#include "forward.h"
#include "live.h"
#include "reply.h"
#include "icmp_related.h"
#include "ending.h"
#include "control.h"
#include "layout.h"

/* What opens a connection: is_new_conn() of the kernel's ip_vs_core.c. */
static __always_inline bool opens(const struct packet *packet)
{
	if (packet->protocol == IPPROTO_TCP)
		return (packet->flags & (TCP_SYN | TCP_RST | HEADER_SHORT)) == TCP_SYN;
	return packet->protocol == IPPROTO_SCTP && packet->flags == SCTP_INIT;
}

static __always_inline bool is_quiescent(__u32 id)
{
	struct real_server_load *load = lookup(real_server_loads, id);

	return load && !load_weight(load);
}

/*
 * The packet does not go on with its connection but opens a new one: the old
 * one has closed, or its real server is gone. As ip_vs_in() of ip_vs_core.c,
 * but a closing connection never holds its port for a real server that takes
 * no new ones, and UDP leaves a real server that is gone at once.
 */
static __always_inline bool is_over(const struct packet *packet, __u64 word,
				    const struct real_server *real_server)
{
	bool available = real_server->flags & REAL_SERVER_AVAILABLE;
	__u32 state;

	if (packet->protocol == IPPROTO_UDP)
		return (!available && settings.expire_nodest_conn) ||
		       (settings.expire_nodest_conn >= EXPIRE_QUIESCENT &&
			is_quiescent(word_real_server(word)));
	if (!opens(packet))
		return false;
	if (!available)
		return settings.expire_nodest_conn;
	state = awake(word_state(word));
	if (state == STATE_TIME_WAIT || state == STATE_CLOSE || state == STATE_SCTP_CLOSED)
		return settings.conn_reuse_mode;
	if (state == STATE_FIN_WAIT && settings.conn_reuse_mode & REUSE_FIN_WAIT)
		return true;
	if (state == STATE_FIN_WAIT && settings.conn_reuse_mode)
		return is_quiescent(word_real_server(word));
	return settings.expire_nodest_conn >= EXPIRE_QUIESCENT &&
	       is_quiescent(word_real_server(word));
}

static __always_inline int forward_fragment(struct xdp_md *ctx, struct packet *packet,
					    const bool ipv6)
{
	__u32 id = fragment_lookup(packet);
	struct real_server *real_server;
	int result;

	/* A fragment for the director itself, or whose first one has not come. */
	if (id == FRAGMENT_OF_STACK || (!id && !may_be_held(packet)))
		return pass(COUNTER(pass_fragment));
	result = check_unusual(ctx, packet);
	if (result != GO_ON)
		return result;
	if (!id)
		id = fragment_hold(ctx, packet);
	if (id == FRAGMENT_AWAITED)
		return drop(COUNTER(hold_fragment));
	if (id == FRAGMENT_OF_STACK)
		return pass(COUNTER(pass_fragment));
	count(COUNTER(forward_fragment));
	if (id & FRAGMENT_OF_REPLY)
		return send_reply(ctx, packet, id & ~FRAGMENT_OF_REPLY);
	real_server = lookup(real_servers, id);
	if (!real_server)
		return XDP_ABORTED;
	return forward(ctx, packet, real_server, id, ipv6);
}

/* Neither TCP nor UDP of a service, nor a fragment of it. */
static __always_inline int direct_icmp(struct xdp_md *ctx, struct packet *packet)
{
	int id = check_unusual(ctx, packet);

	if (id != GO_ON)
		return id;
	id = icmp_related(ctx, packet);
	if (id == RELATED_TO_NONE)
		return error_of_tunnel(ctx, packet);
	return id > 0 ? forward_otherwise(ctx, packet, id) : -id;
}

static __always_inline int direct(struct xdp_md *ctx, struct packet *packet, const bool ipv6)
{
	struct connection connection = {};
	struct real_server *real_server;
	__u32 id;
	int result;

	result = ipv6 ? parse_ipv6(ctx, packet) : parse_ipv4(ctx, packet);
	if (result != GO_ON)
		return result == GO_ON_ICMP ? direct_icmp(ctx, packet) : result;
	if (packet->fragment == FRAGMENT_LATER)
		return forward_fragment(ctx, packet, ipv6);
	packet->service = service_lookup(packet, ipv6);
	if (!packet->service)
		return settings.masquerades ? reply(ctx, packet) : pass_not_service(packet);
	if (!ipv6) {
		result = check_ipv4(ctx, packet);
		if (result != GO_ON)
			return result;
	}

	packet->hash = connection_hash(packet->source, packet->destination, packet_ports(packet),
				       packet->protocol, packet->service, ipv6);
	if (ipv6 && (opens(packet) || packet->protocol == IPPROTO_UDP))
		foresee_opening(packet->hash);
	if (connection_lookup(packet->hash, &connection)) {
		id = word_real_server(connection.word);
		real_server = lookup(real_servers, id);
		if (real_server && !is_connection_of(packet, &connection, real_server))
			connection.word = 0;
		else if (real_server && !is_over(packet, connection.word, real_server)) {
			if (!(real_server->flags & REAL_SERVER_AVAILABLE))
				return end_connection(ctx, packet, &connection);
			connection_touch(&connection,
					 packet->flags |
						 (real_server->method == METHOD_MASQ ? EVENT_TWO_WAY
										     : 0));
			goto forward;
		}
	} else {
		connection.word = 0;
	}
	result = schedule(ctx, packet, connection.index, connection.word);
	if (result <= 0) {
		if (packet->fragment && result == -XDP_PASS)
			fragment_to_stack(packet);
		return -result;
	}
	id = result;
	real_server = lookup(real_servers, id);
	if (!real_server)
		return XDP_ABORTED;
forward:
	if (packet->fragment)
		fragment_remember(packet, id);
	return forward(ctx, packet, real_server, id, ipv6);
}

SEC("xdp")
int director(struct xdp_md *ctx)
{
	struct packet packet;
	__be16 type;
	int result;

	result = forward_live(ctx, &packet);
	if (result != GO_ON)
		return result;
	__builtin_memset(&packet, 0, sizeof(packet));
	result = parse_ethernet(ctx, &packet, &type);
	if (result != GO_ON)
		return result;
	if (type == bpf_htons(ETH_P_IP))
		return direct(ctx, &packet, false);
	if (type == bpf_htons(ETH_P_IPV6))
		return direct(ctx, &packet, true);
	return pass(COUNTER(pass_not_ip));
}

SEC("xdp")
int control(struct xdp_md *ctx)
{
	struct control_request *request = (void *)(long)ctx->data;

	if ((void *)(request + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	request->result = control_operation(ctx, request);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
