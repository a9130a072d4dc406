// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map of every kind that the addon's tests need, data sections, and programs that load, answer, and do not load. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct value {
	__u64 number;
	__u32 small;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __u64);
	__type(value, struct value);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 20000);
	__type(key, __u32);
	__type(value, __u32);
} array SEC(".maps");

/* 12 bytes a CPU, which the kernel copies as 16. */
struct small {
	__u32 words[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 300);
	__type(key, __u32);
	__type(value, struct small);
} per_cpu_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

const volatile __u32 verdict = XDP_PASS;
__u64 packets SEC(".data.counter") = 5;

SEC("xdp")
int answer(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	if (data + 14 > (unsigned char *)(long)ctx->data_end)
		return XDP_ABORTED;
	__sync_fetch_and_add(&packets, 1);
	data[0] = ctx->ingress_ifindex;
	return verdict;
}

/* A second program, for a link to change to. */
SEC("xdp")
int drop(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_DROP;
}

/* Writes the beginning of the packet into the ring buffer. */
SEC("xdp")
int tell(struct xdp_md *ctx)
{
	unsigned char bytes[16];

	if (!bpf_xdp_load_bytes(ctx, 0, bytes, sizeof(bytes)))
		bpf_ringbuf_output(&ring, bytes, sizeof(bytes), 0);
	return XDP_DROP;
}

/* Refused by the verifier: the packet may have no bytes. */
SEC("xdp")
int broken(struct xdp_md *ctx)
{
	return *(unsigned char *)(long)ctx->data;
}

char _license[] SEC("license") = "Dual BSD/GPL";
