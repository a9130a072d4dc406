// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What floods an interface as a network card's driver would: run on live
 * frames, it writes each of them anew, a UDP datagram of the next flow, and
 * sends it out. A frame that comes back from its way is used again.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flood.h"

#define FIRST_PORT 1024

/* Not constant: the compiler would take what stands here for what is copied. */
struct flood_options options = { .flows = 1 };
static __u32 next;

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	struct datagram *datagram = (void *)(long)ctx->data;

	if ((void *)(datagram + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(datagram, &options.model, sizeof(*datagram));
	datagram->udp.source = bpf_htons(FIRST_PORT + next++ % options.flows);
	return bpf_redirect(options.out, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
