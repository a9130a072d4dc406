/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What user space asks the program to do in the program's own terms, so that
 * hashes, comparators and the timer exist only here. Run by BPF_PROG_TEST_RUN
 * with a struct control_request as the packet; never attached.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "adoption.h"
#include "expiry.h"
#include "schedulers/lblcr.h"
#include "service.h"

#define ENOENT 2
#define EBUSY 16
#define EINVAL 22
#define ENOSPC 28

#define SERVICE_SLOTS_EACH 8 /* so that a slot is nearly always in its own place */
#define SERVICE_DOUBLINGS 8  /* from MIN_SERVICE_SLOTS to MAX_SERVICE_SLOTS */

static __always_inline int start_sweep(void)
{
	struct sweeper *timer = lookup(sweeper, 0);
	int error;

	if (!timer)
		return -EINVAL;
	sweep.tick = bpf_ktime_get_ns() / NANOSECONDS;
	error = bpf_timer_init(&timer->timer, &sweeper, CLOCK_MONOTONIC);
	if (error && error != -EBUSY)
		return error;
	error = bpf_timer_set_callback(&timer->timer, sweep_timer);
	if (error)
		return error;
	return bpf_timer_start(&timer->timer, SWEEP_INTERVAL_NS, 0);
}

static __always_inline bool is_taken(const struct service_slot *slot)
{
	return slot->kind != SERVICE_SLOT_FREE && slot->kind != SERVICE_SLOT_DELETED;
}

/*
 * Puts the slot into the table of that size, in place of the one that is the
 * same but for its service. A deleted one is taken again; probing ends at a
 * free one. Returns 1 if that one was taken, else 0 or -errno.
 */
__noinline int put_into(__u32 size, const struct service_slot *wanted)
{
	if (!wanted)
		return -EINVAL;
	__u32 home =
		service_slot_home(wanted->address, wanted->port | (__u32)wanted->protocol << 16);
	struct service_slot *place = NULL;
	int more;

	for (__u32 probe = 0; probe < SERVICE_PROBES; probe++) {
		struct service_slot *slot = service_slot_at(size, home + probe);

		if (!slot)
			return -EINVAL;
		if (is_taken(slot) && service_slot_is(slot, wanted->address, wanted->port,
						      wanted->protocol, wanted->kind)) {
			slot->service = wanted->service;
			return 0;
		}
		if (!place && !is_taken(slot))
			place = slot;
		if (slot->kind == SERVICE_SLOT_FREE)
			break;
	}
	if (!place)
		return -ENOSPC;
	more = place->kind == SERVICE_SLOT_FREE;
	/* The kind goes last: until then no packet sees the slot. */
	__builtin_memcpy(place->address, wanted->address, sizeof(place->address));
	place->port = wanted->port;
	place->protocol = wanted->protocol;
	place->service = wanted->service;
	barrier();
	*(volatile __u8 *)&place->kind = wanted->kind;
	return more;
}

/* A table that no packet looks in yet, and the size of that where all is now. */
struct growth {
	__u32 size;
	__u32 from;
	__u32 used;
	int error;
};

static long clear_slot(__u32 i, void *context)
{
	const struct growth *growth = context;
	struct service_slot *slot = service_slot_at(growth->size, i);

	if (slot)
		slot->kind = SERVICE_SLOT_FREE;
	return 0;
}

static long copy_slot(__u32 i, void *context)
{
	struct growth *growth = context;
	struct service_slot *slot = service_slot_at(growth->from, i);
	struct service_slot copy;
	int more;

	if (!slot || !is_taken(slot))
		return 0;
	copy = *slot;
	more = put_into(growth->size, &copy);
	if (more < 0) {
		growth->error = more;
		return 1;
	}
	growth->used += more;
	return 0;
}

/* All that is in a table goes to one of another size; packets look there when it is whole. Slots used, or -errno. */
__noinline int move_services(__u32 from, __u32 size)
{
	struct growth growth = { .size = size, .from = from };

	/* What did not fit may have been left there. */
	bpf_loop(size, clear_slot, &growth, 0);
	bpf_loop(from, copy_slot, &growth, 0);
	if (growth.error)
		return growth.error;
	barrier();
	*(volatile __u32 *)&settings.service_slots = size;
	return growth.used;
}

static __always_inline int grow_services(__u32 size)
{
	int used = move_services(settings.service_slots, size);

	if (used < 0)
		return used;
	settings.service_slots_used = used;
	return 0;
}

/* From the table of a program that places slots otherwise, and goes on looking there. */
static __always_inline int take_over_services(__u32 from)
{
	int used;

	if (from < MIN_SERVICE_SLOTS || from > MAX_SERVICE_SLOTS || from & (from - 1))
		return -EINVAL;
	used = move_services(from, from < MAX_SERVICE_SLOTS ? 2 * from : from / 2);
	return used < 0 ? used : 0;
}

/* The table is doubled where it has no place near the slot's own, or when it lacks SERVICE_SLOTS_EACH. */
__noinline int put_service(const struct service_slot *wanted)
{
	__u32 size = settings.service_slots;
	int more;

	if (!wanted)
		return -EINVAL;
	if (wanted->kind == SERVICE_SLOT_OWN_IPV4)
		settings.own_addresses |= own_address_bit(wanted->address);
	more = put_into(size, wanted);
	for (int i = 0; i < SERVICE_DOUBLINGS && more == -ENOSPC; i++) {
		if (size >= MAX_SERVICE_SLOTS)
			break;
		size *= 2;
		if (!grow_services(size))
			more = put_into(size, wanted);
	}
	if (more < 0)
		return more;
	settings.service_slots_used += more;
	/* It cannot fail but for want of room, and then this one still has some. */
	if (SERVICE_SLOTS_EACH * settings.service_slots_used > size && size < MAX_SERVICE_SLOTS)
		grow_services(2 * size);
	return 0;
}

/* Probing goes on behind a deleted slot, unless nothing lies there. */
__noinline int delete_service(const struct service_slot *wanted)
{
	if (!wanted)
		return -EINVAL;
	__u32 home =
		service_slot_home(wanted->address, wanted->port | (__u32)wanted->protocol << 16);
	__u32 size = settings.service_slots;

	for (__u32 probe = 0; probe < SERVICE_PROBES; probe++) {
		struct service_slot *slot = service_slot_at(size, home + probe);
		struct service_slot *next = service_slot_at(size, home + probe + 1);

		if (!slot || !next)
			return -EINVAL;
		if (service_slot_is(slot, wanted->address, wanted->port, wanted->protocol,
				    wanted->kind)) {
			slot->kind = next->kind == SERVICE_SLOT_FREE ? SERVICE_SLOT_FREE
								     : SERVICE_SLOT_DELETED;
			settings.service_slots_used -= slot->kind == SERVICE_SLOT_FREE;
			return 0;
		}
		if (slot->kind == SERVICE_SLOT_FREE)
			return -ENOENT;
	}
	return -ENOENT;
}

struct tree_build {
	struct tree tree;
	__u32 scheduler;
	__u32 wide;
	__u32 light;
};

static long build_leaf(__u32 place, void *context)
{
	struct tree_build *build = context;
	struct tree tree = build->tree;
	__u64 *nodes = tree_nodes(tree);
	__u32 id = tree_member(tree, place);
	struct real_server_load *load = id ? lookup(real_server_loads, id) : NULL;

	if (!nodes)
		return 1;
	nodes[(tree.leaves + place) & (TREE_POSITIONS - 1)] =
		tree_word(build->scheduler, tree.leaves, place, id);
	if (load && is_light(load->active, load_weight(load)))
		build->light++;
	return 0;
}

/* Inner nodes from the last to the root, so that children come before their parents. */
static long build_node(__u32 i, void *context)
{
	struct tree_build *build = context;
	struct tree tree = build->tree;
	__u64 *nodes = tree_nodes(tree);
	__u32 position = (tree.leaves - 1 - i) & (TREE_POSITIONS / 2 - 1);
	__u64 left, right;

	if (!nodes)
		return 1;
	left = nodes[2 * position];
	right = nodes[2 * position + 1];
	nodes[position] = build->wide
				  ? lesser_of_wide(packed_tree(tree, build->scheduler), left, right)
				  : lesser(left, right);
	return 0;
}

__noinline int build_tree(const struct control_request *request)
{
	struct service_state *state;
	struct tree_build build = {};

	if (!request)
		return -EINVAL;
	state = lookup(service_states, request->index);
	if (!state || request->tree & 1)
		return -EINVAL;
	build.tree.offset = request->tree;
	build.tree.leaves = request->tree_leaves;
	build.scheduler = request->scheduler;
	build.wide = request->flags & SERVICE_WIDE_WEIGHTS;
	if (build.tree.leaves) {
		bpf_loop(build.tree.leaves, build_leaf, &build, 0);
		bpf_loop(build.tree.leaves - 1, build_node, &build, 0);
	}
	state->light = build.light;
	return 0;
}

static __always_inline int control_operation(struct xdp_md *ctx, struct control_request *request)
{
	struct control_request copy = *request;
	struct service_slot slot = request->slot;

	switch (request->operation) {
	case CONTROL_START_SWEEP:
		return start_sweep();
	case CONTROL_PUT_SERVICE:
		return put_service(&slot);
	case CONTROL_DELETE_SERVICE:
		return delete_service(&slot);
	case CONTROL_BUILD_TREE:
		return build_tree(&copy);
	case CONTROL_FORGET:
		return replica_forget(request->index) ? -EBUSY : 0;
	case CONTROL_MOVE_SERVICES:
		return take_over_services(copy.index);
	case CONTROL_IMPORT:
		return import_connections(ctx);
	case CONTROL_SWEEP:
		sweep.tick = bpf_ktime_get_ns() / NANOSECONDS;
		sweep.line = 0;
		sweep.live_counting = 0;
		sweep_lines(settings.line_mask + 1);
		return 0;
	default:
		return -EINVAL;
	}
}

#endif
