/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Locality-based least connection, net/netfilter/ipvs/ip_vs_lblc.c. The
 * kernel's table is keyed by destination address; a service of one address
 * has one entry, the sticky real server. It is kept while it is available and
 * has a weight, unless it has more active connections than its weight while
 * another has less than half of its own. A threshold does not move it.
 *
 * The kernel looks for entries that were unused for a day at every 30th beat of
 * a timer of 60 s. Each beat is 61.44 s after the one before, whatever HZ is:
 * so coarse is the timer wheel at that distance (kernel/time/timer.c).
 */
#ifndef LBLC_H
#define LBLC_H

#include "tree.h"

#define LBLC_CHECK_INTERVAL (30 * 6144ULL) /* hundredths of a second */

/* Whether the last of the kernel's checks has found the entry unused for so long. */
static __always_inline bool lblc_is_stale(const struct service_state *state, __u32 expiration)
{
	__u64 checks = (sweep.tick - state->scheduled) * 100ULL / LBLC_CHECK_INTERVAL;
	__u32 check = state->scheduled + checks * LBLC_CHECK_INTERVAL / 100;

	return (__s32)(check - state->sticky_used - expiration) >= 0;
}

/* It has more active connections than its weight while another has room. */
static __always_inline bool lblc_is_crowded(const struct real_server_load *load,
					    const struct service_state *state)
{
	return load->active > load_weight(load) && state->light;
}

static __always_inline __u32 lblc_choose(const struct service *service, __u32 service_index,
					 struct service_state *state)
{
	__u32 sticky = state->sticky, tick = sweep.tick;

	if (sticky && !lblc_is_stale(state, settings.lblc_expiration)) {
		struct real_server *real_server = lookup(real_servers, sticky);
		struct real_server_load *load = lookup(real_server_loads, sticky);

		state->sticky_used = tick;
		if (real_server && load && real_server->service == service_index &&
		    real_server->flags & REAL_SERVER_AVAILABLE && load_weight(load) &&
		    !lblc_is_crowded(load, state))
			return sticky;
	}
	sticky = tree_choose(service, service_index);
	if (sticky) {
		state->sticky = sticky;
		state->sticky_used = tick;
	}
	return sticky;
}

#endif
