/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs and XDP links. A link ends when it is detached, or when its last
 * handle is closed and it is pinned nowhere; no finalizer closes one.
 */
#include "napi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>

static napi_value program_open_pinned(struct call *call)
{
	return handle_open_pinned(call, HANDLE_PROGRAM);
}

static napi_value program_pin(struct call *call)
{
	return handle_pin(call, HANDLE_PROGRAM);
}

static napi_value program_close(struct call *call)
{
	return handle_close_fd(call, HANDLE_PROGRAM);
}

static napi_value program_info(struct call *call)
{
	struct bpf_prog_info info = {};
	char tag[2 * BPF_TAG_SIZE + 1];
	__u32 length = sizeof(info);
	struct handle *handle;
	napi_value result;
	int error;

	if (!argument_handle(call, 0, HANDLE_PROGRAM, &handle))
		return NULL;
	error = bpf_obj_get_info_by_fd(handle->fd, &info, &length);
	if (error)
		return fail(call, error, handle->label);
	for (int i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	result = result_object(call);
	if (!result || !set_u32(call, result, "id", info.id) ||
	    !set_string(call, result, "name", info.name) || !set_string(call, result, "tag", tag))
		return NULL;
	return result;
}

static napi_value link_attach_xdp(struct call *call)
{
	LIBBPF_OPTS(bpf_link_create_opts, options);
	struct handle *program;
	uint32_t mode;
	char label[32], name[IF_NAMESIZE];
	int ifindex, fd;

	if (!argument_handle(call, 0, HANDLE_PROGRAM, &program) ||
	    !argument_int(call, 1, &ifindex) || !argument_u32(call, 2, &mode))
		return NULL;
	snprintf(label, sizeof(label), "interface %d", ifindex);
	options.flags = mode;
	fd = bpf_link_create(program->fd, ifindex, BPF_XDP, &options);
	/* Of an interface that is gone, the kernel says EINVAL. */
	if (fd == -EINVAL && !if_indextoname(ifindex, name))
		fd = -ENODEV;
	if (fd < 0)
		return fail(call, fd, label);
	return handle_create_fd(call, HANDLE_LINK, fd, label);
}

static napi_value link_open_pinned(struct call *call)
{
	return handle_open_pinned(call, HANDLE_LINK);
}

static napi_value link_pin(struct call *call)
{
	return handle_pin(call, HANDLE_LINK);
}

static napi_value link_update(struct call *call)
{
	struct handle *handle, *program;
	int error;

	if (!argument_handle(call, 0, HANDLE_LINK, &handle) ||
	    !argument_handle(call, 1, HANDLE_PROGRAM, &program))
		return NULL;
	error = bpf_link_update(handle->fd, program->fd, NULL);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

static napi_value link_info(struct call *call)
{
	struct bpf_link_info info = {};
	__u32 length = sizeof(info);
	struct handle *handle;
	napi_value result;
	int error;

	if (!argument_handle(call, 0, HANDLE_LINK, &handle))
		return NULL;
	error = bpf_obj_get_info_by_fd(handle->fd, &info, &length);
	if (error)
		return fail(call, error, handle->label);
	result = result_object(call);
	if (!result || !set_u32(call, result, "id", info.id) ||
	    !set_u32(call, result, "programId", info.prog_id) ||
	    !set_u32(call, result, "ifindex",
		     info.type == BPF_LINK_TYPE_XDP ? info.xdp.ifindex : 0))
		return NULL;
	return result;
}

static napi_value link_detach(struct call *call)
{
	struct handle *handle;
	int error;

	if (!argument_handle(call, 0, HANDLE_LINK, &handle))
		return NULL;
	error = bpf_link_detach(handle->fd);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

static napi_value link_close(struct call *call)
{
	return handle_close_fd(call, HANDLE_LINK);
}

static napi_value xdp_query(struct call *call)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, options);
	uint32_t mode, program;
	napi_value result;
	char label[32];
	int ifindex, error;

	if (!argument_int(call, 0, &ifindex))
		return NULL;
	error = bpf_xdp_query(ifindex, 0, &options);
	if (error) {
		snprintf(label, sizeof(label), "interface %d", ifindex);
		return fail(call, error, label);
	}
	mode = options.attach_mode;
	program = options.prog_id;
	if (mode == XDP_ATTACHED_MULTI) {
		/* Native and generic at once: the native one sees packets first. */
		mode = options.drv_prog_id ? XDP_ATTACHED_DRV : XDP_ATTACHED_HW;
		program = options.drv_prog_id ? options.drv_prog_id : options.hw_prog_id;
	}
	result = result_object(call);
	if (!result || !set_u32(call, result, "mode", mode) ||
	    !set_u32(call, result, "programId", program))
		return NULL;
	return result;
}

const struct binding link_bindings[] = {
	{ "programOpenPinned", program_open_pinned },
	{ "programPin", program_pin },
	{ "programInfo", program_info },
	{ "programClose", program_close },
	{ "linkAttachXdp", link_attach_xdp },
	{ "linkOpenPinned", link_open_pinned },
	{ "linkPin", link_pin },
	{ "linkUpdate", link_update },
	{ "linkInfo", link_info },
	{ "linkDetach", link_detach },
	{ "linkClose", link_close },
	{ "xdpQuery", xdp_query },
	{ NULL, NULL },
};
