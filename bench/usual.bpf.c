// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the director is measured by. `reflect`: parses a packet and sends it
 * back, the least that any balancer must do. `touch`: the same, and claims a
 * word in a line of memory that the flow's hash says, the least that it costs
 * to remember a connection. `usual`: a balancer as they are usually built, with the service in a hash map, the connection in an LRU hash
 * map, and a ring of 65537 places for new ones; it keeps neither TCP states
 * nor statistics nor times, so it does less than the director.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define RING_PLACES 65537
#define LINES 262144
#define MAX_SERVICES 1024
#define MAX_REAL_SERVERS 65536

struct flow {
	__be32 source[4]; /* IPv4 in [0], the others 0 */
	__be32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u32 protocol;
};

struct service_key {
	__be32 address[4];
	__be16 port;
	__u16 protocol;
};

struct ipv4_key {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 protocol;
};

struct connection {
	__u32 real_server;
	__u32 reserved[3];
};

struct real_server {
	__u16 mac[3];
	__u16 source_mac[3];
	__u32 reserved[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__type(key, struct service_key);
	__type(value, __u32);
} virtual_services SEC(".maps");

/* Sizes of both are set before load. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct ipv4_key);
	__type(value, struct connection);
} ipv4_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow);
	__type(value, struct connection);
} ipv6_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING_PLACES);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_REAL_SERVERS);
	__type(key, __u32);
	__type(value, struct real_server);
} servers SEC(".maps");

/* As the director's table: 8 connections of 16 bytes a line. Set to LINES before load by who uses them. */
struct line {
	__u64 word[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

struct ethernet {
	__u16 destination[3];
	__u16 source[3];
	__be16 type;
};

/* Leaves the flow behind; false: not TCP or UDP over IP. */
static __always_inline bool parse(struct xdp_md *ctx, struct flow *flow)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethernet *ethernet = data;
	struct udphdr *ports;

	if ((void *)(ethernet + 1) > data_end)
		return false;
	if (ethernet->type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > data_end || *(__u8 *)ip != 0x45)
			return false;
		flow->source[0] = ip->saddr;
		flow->destination[0] = ip->daddr;
		flow->protocol = ip->protocol;
		ports = (void *)(ip + 1);
	} else if (ethernet->type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > data_end)
			return false;
		__builtin_memcpy(flow->source, &ip->saddr, 16);
		__builtin_memcpy(flow->destination, &ip->daddr, 16);
		flow->protocol = ip->nexthdr;
		ports = (void *)(ip + 1);
	} else {
		return false;
	}
	if ((void *)(ports + 1) > data_end ||
	    (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP))
		return false;
	flow->source_port = ports->source;
	flow->destination_port = ports->dest;
	return true;
}

static __always_inline bool is_ipv6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethernet *ethernet = data;

	return (void *)(ethernet + 1) <= data_end && ethernet->type == bpf_htons(ETH_P_IPV6);
}

static __always_inline __u32 hash_of(const struct flow *flow)
{
	__u64 hash = (__u64)(flow->source[0] ^ flow->source[1] ^ flow->source[2] ^ flow->source[3])
			     << 32 |
		     flow->source_port << 16 | flow->destination_port;

	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15ULL;
	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9ULL;
	return hash >> 32;
}

static __always_inline bool send_back(struct xdp_md *ctx)
{
	struct ethernet *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return false;
	for (int i = 0; i < 3; i++) {
		__u16 word = ethernet->destination[i];

		ethernet->destination[i] = ethernet->source[i];
		ethernet->source[i] = word;
	}
	return true;
}

static __always_inline __u32 find_or_open(void *connections, const void *key,
					  const struct flow *flow)
{
	struct connection *found = bpf_map_lookup_elem(connections, key);
	struct connection opened = {};
	__u32 place, *member;

	if (found)
		return found->real_server;
	place = hash_of(flow) % RING_PLACES;
	member = bpf_map_lookup_elem(&ring, &place);
	if (!member)
		return 0;
	opened.real_server = *member;
	bpf_map_update_elem(connections, key, &opened, BPF_ANY);
	return opened.real_server;
}

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	struct flow flow = {};

	return parse(ctx, &flow) && send_back(ctx) ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int touch(struct xdp_md *ctx)
{
	struct flow flow = {};
	struct line *line;
	__u64 *word;
	__u32 hash, place;

	if (!parse(ctx, &flow))
		return XDP_PASS;
	hash = hash_of(&flow);
	place = hash % LINES;
	line = bpf_map_lookup_elem(&lines, &place);
	if (!line)
		return XDP_DROP;
	word = &line->word[hash >> 29];
	__sync_val_compare_and_swap(word, *word, (__u64)hash << 32 | 1);
	return send_back(ctx) ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int usual(struct xdp_md *ctx)
{
	struct service_key service = {};
	struct real_server *server;
	struct ethernet *ethernet;
	struct flow flow = {};
	__u32 id;

	if (!parse(ctx, &flow))
		return XDP_PASS;
	__builtin_memcpy(service.address, flow.destination, 16);
	service.port = flow.destination_port;
	service.protocol = flow.protocol;
	if (!bpf_map_lookup_elem(&virtual_services, &service))
		return XDP_PASS;
	if (is_ipv6(ctx)) {
		id = find_or_open(&ipv6_connections, &flow, &flow);
	} else {
		struct ipv4_key key = {
			.source = flow.source[0],
			.destination = flow.destination[0],
			.source_port = flow.source_port,
			.destination_port = flow.destination_port,
			.protocol = flow.protocol,
		};

		id = find_or_open(&ipv4_connections, &key, &flow);
	}
	server = bpf_map_lookup_elem(&servers, &id);
	if (!server)
		return XDP_DROP;
	ethernet = (void *)(long)ctx->data;
	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	for (int i = 0; i < 3; i++) {
		ethernet->destination[i] = server->mac[i];
		ethernet->source[i] = server->source_mac[i];
	}
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
