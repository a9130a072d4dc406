/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, in the order in which a packet meets them. Sizes marked "set
 * before load" are the smallest that work. Array maps are not a call: the
 * verifier inlines their lookup. BPF_F_MMAPABLE also aligns the values to a
 * page, so that a 64-byte value is exactly one cache line.
 */
#ifndef MAPS_H
#define MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "director.h"
#include "packet.h"

struct settings settings SEC(".data.settings") = {
	.layout_version = LAYOUT_VERSION,
	.service_slots = MIN_SERVICE_SLOTS,
	.lblc_expiration = LBLC_EXPIRATION,
	.lblcr_expiration = LBLC_EXPIRATION,
};
struct sweep sweep SEC(".data.sweep") = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * MAX_SERVICE_SLOTS);
	__type(key, __u32);
	__type(value, struct service_slot);
} service_slots SEC(".maps");

/* Set before load: a power of two of lines, settings.line_mask + 1. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct connection_line);
} connections SEC(".maps");

/* Set before load: a bit for each line whose neighbour holds connections of it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} overflows SEC(".maps");

/* Set before load: of each line the tick + 1 at which a connection of it last found no slot; 0: none has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} untracked_lines SEC(".maps");

/* Set before load: SLOTS_PER_LINE times the lines. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * SLOTS_PER_LINE);
	__type(key, __u32);
	__type(value, struct connection_extra);
} connection_extras SEC(".maps");

/* Set before load: as connection_extras. Where there is persistence, see template_link.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * SLOTS_PER_LINE);
	__type(key, __u32);
	__type(value, __u64);
} template_links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct real_server);
} real_servers SEC(".maps");

/* Set before load: a row of MAX_REAL_SERVERS for each CPU, see counters.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct real_server_counters);
} real_server_counters SEC(".maps");

/* Of real servers of METHOD_IPIP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct tunnel);
} tunnels SEC(".maps");

/* Of real servers of METHOD_MASQ: the next one with the same address, port and protocol, 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, __u32);
} same_endpoints SEC(".maps");

/* Set before load: as real_server_counters. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct reply_counters);
} reply_counters SEC(".maps");

/* The kernel's tables name a VLAN interface; frames leave by the physical one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct vlan_link);
} vlan_links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} redirect_ports SEC(".maps");

/* What follows only new connections meet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct service_state);
} service_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct real_server_load);
} real_server_loads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct real_server_history);
} real_server_histories SEC(".maps");

/* Set before load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ring_segment);
} ring_segments SEC(".maps");

/* Set before load. Real-server ids. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ring_members SEC(".maps");

/* Set before load. Real-server ids by leaf, those of the tree that begins at node t from t / 2 on; user space writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tree_leaves SEC(".maps");

#define TREE_POSITIONS (1U << TREE_LEVELS)

/*
 * Tournament trees, see bpf/schedulers/tree.h. Of one with n leaves that begins
 * at node t, t + 1 is the root, the children of t + i are t + 2i and t + 2i + 1,
 * and the leaves are t + n to t + 2n - 1. Beyond the last tree there is room
 * for every position there can be, so that a walk need not look where it is.
 */
struct trees {
	__u64 nodes[TREE_NODES + TREE_POSITIONS];
};

/* One element: with a place in it at hand, no step of a walk is a lookup. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trees);
} trees SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SERVICES + MAX_REAL_SERVERS);
	__type(key, struct fragment_address);
	__type(value, __u32); /* nothing */
} fragment_addresses SEC(".maps");

/* From packets to user space: struct held_fragment, or its record alone. Bytes, a power of two. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} held_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct source_key);
	__type(value, struct source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet_counters);
} packet_counters SEC(".maps");

struct sweeper {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweeper);
} sweeper SEC(".maps");

/* The rate limit of ICMP errors, and room to sum up bytes in. */
struct scratch {
	__u32 tick;
	__u32 icmp_sent;    /* in this tick */
	__u32 too_big_sent; /* likewise, which are not among the others */
	__u32 reset_tick;
	__u32 resets_sent;
	__u8 block[512] __attribute__((aligned(8)));
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* The packet that an ICMP error in hand quotes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} quotes SEC(".maps");

#define lookup(map, index)                            \
	({                                            \
		__u32 index_ = (index);               \
		bpf_map_lookup_elem(&(map), &index_); \
	})

#endif
