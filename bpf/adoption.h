/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections that another data plane had become slots here, as if their
 * packets had opened them: hashed, placed, counted and linked to their template
 * by the data path's own functions. User space gives them behind a
 * control_request, templates before the connections that came by them.
 */
#ifndef ADOPTION_H
#define ADOPTION_H

#include "expiry.h"
#include "persistence.h"

static __always_inline __u64 import_hash(const struct connection_import *import, __u32 id,
					 const struct service *service)
{
	__u32 ports = (__u32)import->client_port << 16 | import->virtual_port;

	if (import->state == STATE_TEMPLATE)
		return template_hash(import->client, id);
	return connection_hash(import->client, service->address, ports, service->protocol, id,
			       service->family == FAMILY_IPV6);
}

/* Seconds since its last packet, as far as what is left of its time tells. */
static __always_inline __u32 import_rested(const struct connection_import *import, __u64 word,
					   const struct service *service)
{
	__u32 timeout = import->state == STATE_TEMPLATE ? service->persistence_timeout
							: timeout_of(word);

	return timeout > import->expires_in ? timeout - import->expires_in : 0;
}

/* 1 + slot index of the template that the client's connections come by; 0: none to this real server. */
__noinline int template_of(const struct connection_import *import, __u32 id)
{
	struct service *service;
	__be32 network[4];
	struct connection found = {};

	if (!import)
		return 0;
	service = lookup(services, id);
	if (!service || !service->persistence_timeout)
		return 0;
	for (int i = 0; i < 4; i++)
		network[i] = import->client[i] & service->persistence_netmask[i];
	if (!connection_lookup(template_hash(network, id), &found) ||
	    word_state(found.word) != STATE_TEMPLATE ||
	    word_real_server(found.word) != import->real_server)
		return 0;
	return found.index + 1;
}

/* What the slot's word has no room for: since when a template, or a connection that rests for long, does. */
__noinline int import_rest(__u32 index, __u64 word, __u32 rested)
{
	struct connection_extra *extra = lookup(connection_extras, index);
	__u32 tick = sweep.tick, idle = idle_state(word_state(word));
	__u64 *slot = slot_at(index);

	if (!extra || !slot)
		return 0;
	if (word_state(word) == STATE_TEMPLATE) {
		extra->used = tick - rested;
		return 0;
	}
	if (rested < IDLE_AFTER || !idle)
		return 0;
	extra->used = tick - rested;
	/* Its tag as it lies: it may be displaced. */
	word = *(volatile __u64 *)slot;
	__sync_val_compare_and_swap(
		slot, word, make_word(word >> SLOT_TAG_SHIFT, word_real_server(word), idle, tick));
	return 0;
}

__noinline int import_open(const struct connection_import *import, __u64 hash, __u64 word,
			   __u32 template)
{
	struct real_server *real_server;
	struct service *service;
	int claimed;

	if (!import)
		return IMPORT_REFUSED;
	claimed = claim_slot(hash, word, sweep.tick);
	if (claimed <= 0)
		return claimed ? IMPORT_PRESENT : IMPORT_NO_ROOM;
	real_server = lookup(real_servers, import->real_server);
	service = real_server ? lookup(services, real_server->service) : NULL;
	if (!service)
		return IMPORT_REFUSED;
	if (import->state == STATE_TEMPLATE) {
		begin_template(claimed - 1, LINK_ASSURED);
	} else if (template) {
		link_template(claimed - 1, template);
	}
	import_rest(claimed - 1, word, import_rested(import, word, service));
	account_open(word);
	write_detail(claimed - 1, service->family, import->client, import->client_port,
		     import->virtual_port);
	return IMPORT_OPENED;
}

/* The same real server: state and time become as the other plane had them. False: it has changed meanwhile. */
__noinline int import_replace(__u32 index, __u64 word, __u64 wanted, __u32 rested)
{
	__u32 before = word_state(word), after = word_state(wanted);
	__u64 *slot = slot_at(index);
	int active;

	wanted =
		make_word(word >> SLOT_TAG_SHIFT, word_real_server(word), after, word_tick(wanted));
	if (!slot || __sync_val_compare_and_swap(slot, word, wanted) != word)
		return 0;
	import_rest(index, wanted, rested);
	active = is_active(after) - is_active(before);
	if (active)
		change_load(word_real_server(word), active, -active);
	return 1;
}

/* Returns an import_result. */
__noinline int import_connection(const struct connection_import *import, __u32 flags)
{
	struct real_server *real_server;
	struct service *service;
	struct connection found = {};
	__u32 id, rested, tick = sweep.tick;
	__u64 hash, word;

	if (!import)
		return IMPORT_REFUSED;
	real_server = lookup(real_servers, import->real_server);
	if (!real_server || !import->real_server || import->state >= STATE_COUNT ||
	    import->state != awake(import->state))
		return IMPORT_REFUSED;
	id = real_server->service;
	service = lookup(services, id);
	if (!service || !service->protocol)
		return IMPORT_REFUSED;
	hash = import_hash(import, id, service);
	word = make_word(hash_tag(hash), import->real_server, import->state, tick);
	rested = import_rested(import, word, service);
	/* A template's tick is of no use; of others the word counts so far. */
	if (import->state != STATE_TEMPLATE)
		word = make_word(hash_tag(hash), import->real_server, import->state,
				 tick - (rested < IDLE_AFTER ? rested : 0));
	if (connection_lookup(hash, &found)) {
		if (!(flags & IMPORT_REPLACE))
			return IMPORT_PRESENT;
		if (word_real_server(found.word) == import->real_server &&
		    (word_state(found.word) == STATE_TEMPLATE) ==
			    (import->state == STATE_TEMPLATE)) {
			import_replace(found.index, found.word, word, rested);
			return IMPORT_PRESENT;
		}
		close_slot(found.index, found.word);
	}
	return import_open(import, hash, word,
			   import->state == STATE_TEMPLATE ? 0 : template_of(import, id));
}

/* Those behind the request, one after the other; each gets its result. */
__noinline int import_connections(struct xdp_md *ctx)
{
	for (__u32 i = 0; i < MAX_IMPORTS; i++) {
		struct control_request *request = (void *)(long)ctx->data;
		struct connection_import *import =
			(void *)(long)ctx->data + sizeof(*request) + i * sizeof(*import);
		struct connection_import copy;

		if ((void *)(import + 1) > (void *)(long)ctx->data_end || i >= request->index)
			return 0;
		copy = *import;
		import->result = import_connection(&copy, request->flags);
	}
	return 0;
}

#endif
