/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Replies of masqueraded real servers. They name the real server and the
 * client, but not the service. The real server's endpoint is looked up where
 * services are, and with each service that has it the client's connection: one
 * slot serves both directions.
 */
#ifndef REPLY_H
#define REPLY_H

#include "connection.h"
#include "forwarding/masq.h"
#include "fragment.h"
#include "service.h"

#define SAME_ENDPOINTS_MAX 64

/* First real server with the endpoint that the packet comes from, 0: none. */
static __always_inline __u32 endpoint_lookup(const struct packet *packet)
{
	const __u8 kind = packet->family == FAMILY_IPV6 ? SERVICE_SLOT_REPLY_IPV6
							: SERVICE_SLOT_REPLY_IPV4;
	struct service_slot *slot =
		service_slot_find(packet->source, packet->source_port, packet->protocol, kind);

	if (!slot && settings.all_ports_services)
		slot = service_slot_find(packet->source, 0, packet->protocol, kind);
	return slot ? slot->service : 0;
}

/* Under an all-ports service no port is mapped. */
static __always_inline __be16 virtual_port_of(const struct service *service,
					      const struct packet *packet)
{
	return service->port ? service->port : packet->source_port;
}

/* The connection by which the packet, from a real server to a client, would come. */
__noinline int find_in_service(const struct packet *packet, __u32 id, struct connection *found)
{
	if (!packet || !found)
		return 0;
	struct real_server *real_server = lookup(real_servers, id);
	struct service *service = real_server ? lookup(services, real_server->service) : NULL;
	__be16 virtual_port;
	__u64 hash;

	if (!service)
		return 0;
	virtual_port = virtual_port_of(service, packet);
	hash = connection_hash(packet->destination, service->address,
			       (__u32)packet->destination_port << 16 | virtual_port,
			       packet->protocol, real_server->service,
			       packet->family == FAMILY_IPV6);
	return connection_lookup(hash, found) && word_real_server(found->word) == id;
}

/* Id of the real server that the packet is a reply of, 0: none. */
__noinline int reply_lookup(const struct packet *packet, struct connection *found)
{
	if (!packet || !found)
		return 0;
	__u32 id = endpoint_lookup(packet);

	for (int i = 0; i < SAME_ENDPOINTS_MAX && id; i++) {
		__u32 *next;

		if (find_in_service(packet, id, found))
			return id;
		next = lookup(same_endpoints, id);
		id = next ? *next : 0;
	}
	return 0;
}

/* The virtual address and port that a real server's packet leaves with. */
static __always_inline bool virtual_endpoint(__u32 id, const struct packet *packet,
					     struct endpoint *to)
{
	struct real_server *real_server = lookup(real_servers, id);
	struct service *service = real_server ? lookup(services, real_server->service) : NULL;

	if (!service)
		return false;
	__builtin_memcpy(to->address, service->address, 16);
	to->port = virtual_port_of(service, packet);
	to->source = true;
	return true;
}

static __always_inline void count_reply(__u32 id, __u32 bytes)
{
	struct reply_counters *counters = lookup(reply_counters, counters_place(id));

	if (counters) {
		counters->packets++;
		counters->bytes += bytes;
	}
}

/* The next hop towards the packet's destination, a client, when the source is the virtual address. As find_way(). */
__noinline int hop_to_client(struct xdp_md *ctx, const struct packet *packet,
			     const struct endpoint *from, struct next_hop *hop)
{
	if (!packet || !from || !hop)
		return WAY_NONE;
	struct way way = { .protocol = packet->protocol, .family = packet->family };

	__builtin_memcpy(way.source, from->address, 16);
	__builtin_memcpy(way.destination, packet->destination, 16);
	/* What GRO has merged is cut again. */
	way.length = packet->bytes <= packet->ingress_mtu ? packet->bytes : 0;
	return find_way(ctx, &way, hop);
}

/* Sends a packet of a real server on to its client, from the virtual address. */
__noinline int send_reply(struct xdp_md *ctx, const struct packet *packet, __u32 id)
{
	if (!packet)
		return XDP_ABORTED;
	struct endpoint to = {};
	struct next_hop hop = {};
	int result;

	/* Judged before it is translated, so the stack tells the real server. */
	if (packet->ttl <= 1)
		return pass(COUNTER(pass_not_service));
	if (!virtual_endpoint(id, packet, &to))
		return XDP_ABORTED;
	result = hop_to_client(ctx, packet, &to, &hop);
	if (result == WAY_TOO_NARROW)
		return may_be_cut(ctx, packet) ? drop(COUNTER(drop_too_big))
					       : pass(COUNTER(pass_not_service));
	if (result)
		return drop(COUNTER(drop_unresolved));
	if (!rewrite_endpoint(ctx, packet, &to))
		return drop(packet->flags & HEADER_SHORT ? COUNTER(drop_short_header)
							 : COUNTER(drop_rewrite));
	result = packet->family == FAMILY_IPV6 ? transmit(ctx, packet, &hop, true)
					       : transmit(ctx, packet, &hop, false);
	if (result != XDP_DROP)
		count_reply(id, packet->bytes);
	return result;
}

/* A packet that is not for a virtual address, where some real servers are masqueraded. */
__noinline int reply(struct xdp_md *ctx, struct packet *packet)
{
	if (!packet)
		return XDP_ABORTED;
	struct connection connection = {};
	__u32 id = reply_lookup(packet, &connection);
	int result;

	if (!id)
		return pass_not_service(packet);
	result = check_unusual(ctx, packet);
	if (result != GO_ON)
		return result;
	connection_touch(&connection, packet->flags | EVENT_TWO_WAY | EVENT_REPLY);
	if (packet->fragment)
		fragment_remember(packet, id | FRAGMENT_OF_REPLY);
	return send_reply(ctx, packet, id);
}

#endif
