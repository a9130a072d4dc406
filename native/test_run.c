/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF_PROG_TEST_RUN of an XDP program: a packet in, verdict and packet out, or
 * a packet in as if an interface had received it.
 * It runs on the calling thread; with a large `repeat` that blocks Node.
 */
#include "napi.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

/* What a program can add to a packet: a page at most. */
#define GROWTH 4096

static napi_value program_test_run(struct call *call)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct xdp_md context = {};
	uint32_t repeat, ifindex;
	napi_value result, data;
	struct handle *handle;
	struct bytes packet;
	uint8_t *output;
	int error;

	if (!argument_handle(call, 0, HANDLE_PROGRAM, &handle) ||
	    !argument_bytes(call, 1, &packet) || !argument_u32(call, 2, &repeat) ||
	    !argument_u32(call, 3, &ifindex))
		return NULL;
	if (packet.length > UINT32_MAX - GROWTH || repeat > INT_MAX)
		return fail(call, EINVAL, handle->label);
	output = malloc(packet.length + GROWTH);
	if (!output)
		return fail(call, ENOMEM, handle->label);
	options.data_in = packet.data;
	options.data_size_in = packet.length;
	options.data_out = output;
	options.data_size_out = packet.length + GROWTH;
	options.repeat = repeat;
	if (ifindex) {
		context.data_end = packet.length;
		context.ingress_ifindex = ifindex;
		options.ctx_in = &context;
		options.ctx_size_in = sizeof(context);
	}
	/* Not tried again on EINTR: part of the runs have had their effect. */
	error = bpf_prog_test_run_opts(handle->fd, &options);
	if (error) {
		free(output);
		return fail(call, error, handle->label);
	}
	data = result_bytes(call, output, options.data_size_out);
	free(output);
	if (!data)
		return NULL;
	result = result_object(call);
	if (!result || !set_u32(call, result, "verdict", options.retval) ||
	    napi_set_named_property(call->env, result, "data", data) != napi_ok ||
	    !set_u32(call, result, "durationNs", options.duration))
		return NULL;
	return result;
}

/* The kernel acts on the verdict itself and tells none. */
static napi_value program_receive(struct call *call)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct xdp_md context = {};
	struct handle *handle;
	struct bytes packet;
	uint32_t ifindex;
	int error;

	if (!argument_handle(call, 0, HANDLE_PROGRAM, &handle) ||
	    !argument_bytes(call, 1, &packet) || !argument_u32(call, 2, &ifindex))
		return NULL;
	context.data_end = packet.length;
	context.ingress_ifindex = ifindex;
	options.data_in = packet.data;
	options.data_size_in = packet.length;
	options.ctx_in = &context;
	options.ctx_size_in = sizeof(context);
	options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
	options.batch_size = 1;
	options.repeat = 1;
	error = bpf_prog_test_run_opts(handle->fd, &options);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

const struct binding test_run_bindings[] = {
	{ "programTestRun", program_test_run },
	{ "programReceive", program_receive },
	{ NULL, NULL },
};
