/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Directors that are real servers, too. What another one has sent here, by
 * gate, has the virtual address still, but that one's MAC address as its
 * source: it has been directed already and is for this machine. Directing it
 * again could send it back.
 */
#ifndef FELLOW_H
#define FELLOW_H

#include "parse.h"
#include "service.h"

/* Whether the frame comes from a fellow director that is not itself the client. */
__noinline int is_directed(struct xdp_md *ctx, const struct packet *packet)
{
	if (!packet)
		return 0;
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethernet_header *ethernet = data;
	struct real_server *real_server;
	struct service_slot *station;
	__be32 key[4] = {};

	if ((void *)(ethernet + 1) > data_end)
		return 0;
	/* As the map has it: numbers of a host's order in words of the network's. */
	key[1] = bpf_htonl(packet->service);
	key[2] = bpf_htonl(bpf_ntohs(ethernet->source[0]));
	key[3] = bpf_htonl((__u32)bpf_ntohs(ethernet->source[1]) << 16 |
			   bpf_ntohs(ethernet->source[2]));
	station = service_slot_find(key, 0, 0, SERVICE_SLOT_STATION);
	real_server = station ? lookup(real_servers, station->service) : NULL;
	if (!real_server)
		return 0;
	for (int i = 0; i < 4; i++)
		if (real_server->address[i] != packet->source[i])
			return 1;
	return 0;
}

#endif
