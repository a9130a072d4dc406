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

__noinline int persistent_choose(const struct packet *packet, struct choice *choice)
{
	if (!packet || !choice)
		return 0;
	struct service *service = lookup(services, packet->service);
	__be32 network[4];
	__u64 hash;
	struct connection found = {};
	int template;

	if (!service)
		return 0;
	for (int i = 0; i < 4; i++)
		network[i] = packet->source[i] & service->persistence_netmask[i];
	/* One hash for both families: the upper words of IPv4 are 0. */
	hash = connection_hash(network, 0, packet->service | TEMPLATE_OF, true);
	if (connection_lookup(hash, &found)) {
		__u32 id = word_real_server(found.word);
		struct connection_extra *extra = lookup(connection_extras, found.index);

		if (word_state(found.word) == STATE_TEMPLATE && may_keep(id, packet->service)) {
			if (extra)
				extra->used = sweep.tick;
			choice->real_server = id;
			choice->template = found.index + 1;
			return 0;
		}
		/* Its real server takes no more: the template goes, and its connections stay. */
		close_slot(found.index, found.word);
	}
	choice->real_server = scheduler_choose(packet, service);
	if (!choice->real_server)
		return 0;
	/* FTP's data connections come by it, too. */
	template = template_open(packet, hash, network,
				 service->port == bpf_htons(FTP_PORT) ? 0 : service->port,
				 choice->real_server);
	choice->template = template > 0 ? template : 0;
	/* Another CPU has just sent the client elsewhere. */
	if (template <0 && connection_lookup(hash, &found)) {
		choice->real_server = word_real_server(found.word);
		choice->template = found.index + 1;
	}
	return 0;
}

#endif
