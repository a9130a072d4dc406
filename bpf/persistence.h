/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Persistence templates, as ip_vs_sched_persist() of the kernel's
 * ip_vs_core.c: the client's network goes to the real server it went to, also
 * when that one's weight is 0, until the template expires or the real server
 * is taken away.
 */
#ifndef PERSISTENCE_H
#define PERSISTENCE_H

#include "connection.h"
#include "schedulers/choose.h"

struct choice {
	__u32 real_server; /* 0: none */
	__u32 template;	   /* 1 + slot index of the template, 0: none */
};

/* ip_vs_check_template() of the kernel's ip_vs_conn.c. */
static __always_inline bool may_keep(__u32 id, __u32 service_index)
{
	struct real_server *real_server = lookup(real_servers, id);
	struct real_server_load *load = lookup(real_server_loads, id);

	return real_server && load && real_server->service == service_index &&
	       real_server->flags & REAL_SERVER_AVAILABLE &&
	       (load_weight(load) || !settings.expire_quiescent_template);
}

/* One for both families: the words of a network after the first are 0 for IPv4. */
static __always_inline __u64 template_hash(const __be32 *network, __u32 service)
{
	return service_hash(network, 0, service | TEMPLATE_OF, true);
}

/* The hash of the template for the packet's client, whose network is written. */
static __always_inline __u64 hash_for(const struct packet *packet, const struct service *service,
				      __be32 *network)
{
	for (int i = 0; i < 4; i++)
		network[i] = packet->source[i] & service->persistence_netmask[i];
	return template_hash(network, packet->service);
}

/* Where the client's network went. Its template goes if that real server takes no more; its connections stay. */
__noinline int choose_by_template(const struct packet *packet, struct choice *choice)
{
	if (!packet || !choice)
		return 0;
	struct service *service = lookup(services, packet->service);
	struct connection found = {};
	struct connection_extra *extra;
	__be32 network[4];
	__u32 id;

	if (!service || !connection_lookup(hash_for(packet, service, network), &found))
		return 0;
	id = word_real_server(found.word);
	if (word_state(found.word) != STATE_TEMPLATE || !may_keep(id, packet->service)) {
		close_slot(found.index, found.word);
		return 0;
	}
	extra = lookup(connection_extras, found.index);
	if (extra)
		extra->used = sweep.tick;
	choice->real_server = id;
	choice->template = found.index + 1;
	return 0;
}

/* By the scheduler, for all that comes from the client's network from now on. */
__noinline int choose_for_template(const struct packet *packet, struct choice *choice)
{
	if (!packet || !choice)
		return 0;
	struct service *service = lookup(services, packet->service);
	__be32 network[4];
	__u64 hash;
	int template;

	if (!service)
		return 0;
	choice->real_server = scheduler_choose(packet, service);
	if (!choice->real_server)
		return 0;
	hash = hash_for(packet, service, network);
	/* FTP's data connections come by it, too. */
	template = template_open(packet, hash, network,
				 service->port == bpf_htons(FTP_PORT) ? 0 : service->port,
				 choice->real_server);
	if (template > 0)
		choice->template = template;
	else if (template <0) /* Another CPU has just sent the client elsewhere. */
		choose_by_template(packet, choice);
	return 0;
}

#endif
