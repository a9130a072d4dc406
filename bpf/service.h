/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stage 2: packet -> virtual service, first with its port, then a service of
 * FTP whose data connection it may be, then for all ports
 * (ip_vs_service_find() of the kernel's ip_vs_ctl.c). A slot table with linear probing in an array: about 4 ns where a BPF
 * hash costs 25.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "maps.h"
#include "packet.h"

#define SERVICE_PROBES 32
#define FTP_PORT 21
#define FTP_DATA_PORT 20
#define FIRST_FREE_PORT 1024 /* ports that no right is needed for */

/* Port and protocol of an endpoint, for endpoint_mix(). */
static __always_inline __u32 endpoint_port(__be16 port, __u8 protocol)
{
	return port | (__u32)protocol << 16;
}

/*
 * Every packet waits for it. All products are had at once, and bits of all the
 * bytes, also of the last one of the address, which is the highest of its word,
 * come together in the upper half.
 */
static __always_inline __u64 endpoint_mix(const __be32 *address, __u32 port)
{
	__u64 network = (__u64)address[0] << 32 | address[1];
	__u64 host = (__u64)address[2] << 32 | address[3];

	return network * 0x94d049bb133111ebULL + host * 0x9e3779b97f4a7c15ULL +
	       port * 0xbf58476d1ce4e5b9ULL;
}

static __always_inline __u32 service_slot_home(const __be32 *address, __u32 port)
{
	return endpoint_mix(address, port) >> 40;
}

/* Port, protocol and kind lie side by side in a slot: one comparison for all three. */
static __always_inline __u32 service_slot_word(__be16 port, __u8 protocol, __u8 kind)
{
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		return (__u32)port << 16 | (__u32)protocol << 8 | kind;
	return port | (__u32)protocol << 16 | (__u32)kind << 24;
}

static __always_inline bool service_slot_is(const struct service_slot *slot, const __be32 *address,
					    __be16 port, __u8 protocol, __u8 kind)
{
	if (slot->address[3] != address[3] ||
	    *(const __u32 *)&slot->port != service_slot_word(port, protocol, kind))
		return false;
	if (kind == SERVICE_SLOT_IPV4 || kind == SERVICE_SLOT_OWN_IPV4)
		return true;
	return slot->address[0] == address[0] && slot->address[1] == address[1] &&
	       slot->address[2] == address[2];
}

/* `size`: of the table. */
static __always_inline struct service_slot *service_slot_at(__u32 size, __u32 place)
{
	return lookup(service_slots, size + (place & (size - 1)));
}

static __always_inline struct service_slot *service_slot_find(const __be32 *address, __be16 port,
							      __u8 protocol, __u8 kind)
{
	__u32 home = service_slot_home(address, endpoint_port(port, protocol));
	__u32 size = settings.service_slots;

	for (__u32 probe = 0; probe < SERVICE_PROBES; probe++) {
		struct service_slot *slot = service_slot_at(size, home + probe);

		if (!slot)
			return NULL;
		if (service_slot_is(slot, address, port, protocol, kind))
			return slot;
		if (slot->kind == SERVICE_SLOT_FREE)
			return NULL;
	}
	return NULL;
}

/* Index into services, 0: not a service of ours. IPv4 in destination[3]. */
static __always_inline __u32 service_at(const __be32 *destination, __be16 port, __u8 protocol,
					const bool ipv6)
{
	const __u8 kind = ipv6 ? SERVICE_SLOT_IPV6 : SERVICE_SLOT_IPV4;
	struct service_slot *slot = service_slot_find(destination, port, protocol, kind);

	if (!slot && settings.ftp_services && protocol == IPPROTO_TCP &&
	    (port == bpf_htons(FTP_DATA_PORT) || bpf_ntohs(port) >= FIRST_FREE_PORT))
		slot = service_slot_find(destination, bpf_htons(FTP_PORT), IPPROTO_TCP, kind);
	if (!slot && settings.all_ports_services)
		slot = service_slot_find(destination, 0, protocol, kind);
	return slot ? slot->service : 0;
}

static __always_inline __u32 service_lookup(const struct packet *packet, const bool ipv6)
{
	return service_at(packet->destination, packet->destination_port, packet->protocol, ipv6);
}

/* A filter of 64 bits: most sources are seen at once not to be an own address. */
static __always_inline __u64 own_address_bit(const __be32 *address)
{
	return 1ULL << ((address[3] * 0x9e3779b1U) >> 26);
}

static __always_inline bool maybe_own_address(const __be32 *source)
{
	return settings.own_addresses & own_address_bit(source);
}

__noinline int is_own_address(const struct packet *packet)
{
	if (!packet)
		return 0;
	return service_slot_find(packet->source, 0, 0,
				 packet->family == FAMILY_IPV6 ? SERVICE_SLOT_OWN_IPV6
							       : SERVICE_SLOT_OWN_IPV4) != NULL;
}

#endif
