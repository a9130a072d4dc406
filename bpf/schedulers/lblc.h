/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Locality-based least connection, net/netfilter/ipvs/ip_vs_lblc.c. The
 * kernel's table is keyed by destination address; a service of one address
 * has one entry, the sticky real server. It is kept while it is available,
 * has a weight and is not overloaded: more active connections than its weight
 * while another has less than half of its own. An entry that was unused for a
 * day is forgotten.
 */
#ifndef LBLC_H
#define LBLC_H

#include "tree.h"

#define LBLC_EXPIRY (24 * 60 * 60) /* seconds, sysctl lblc_expiration */

static __always_inline __u32 lblc_choose(const struct service *service, __u32 service_index,
					 struct service_state *state)
{
	__u32 sticky = state->sticky, tick = sweep.tick;

	if (sticky && tick - state->sticky_used < LBLC_EXPIRY) {
		struct real_server *real_server = lookup(real_servers, sticky);
		struct real_server_load *load = lookup(real_server_loads, sticky);

		if (real_server && load && real_server->service == service_index &&
		    real_server->flags & REAL_SERVER_AVAILABLE && load->weight &&
		    !(load->active > load->weight && state->light)) {
			state->sticky_used = tick;
			return sticky;
		}
	}
	sticky = tree_choose(service);
	state->sticky = sticky;
	state->sticky_used = tick;
	return sticky;
}

#endif
