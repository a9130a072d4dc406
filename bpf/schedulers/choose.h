/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a service's scheduler to the function that chooses. */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "hash.h"
#include "lblc.h"
#include "lblcr.h"
#include "ring.h"
#include "tree.h"
#include "twos.h"

/* The real server of a new connection; 0: none may be scheduled. */
static __always_inline __u32 scheduler_choose(const struct packet *packet,
					      const struct service *service)
{
	struct service_state *state = lookup(service_states, packet->service);

	if (!state)
		return 0;
	switch (service->scheduler) {
	case SCHEDULER_RR:
	case SCHEDULER_WRR:
		return ring_choose(service, packet->service, state);
	case SCHEDULER_DH:
	case SCHEDULER_SH:
	case SCHEDULER_MH:
		return hash_choose(packet);
	case SCHEDULER_TWOS:
		return twos_choose(packet->service);
	case SCHEDULER_LBLC:
		return lblc_choose(service, packet->service, state);
	case SCHEDULER_LBLCR:
		return lblcr_choose(packet->service);
	default:
		return tree_choose(service, packet->service);
	}
}

#endif
