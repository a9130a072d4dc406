/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring buffers from programs to user space (BPF_MAP_TYPE_RINGBUF): one reader,
 * records in the order in which they were reserved. Reading never blocks;
 * whoever waits polls the descriptor.
 */
#include "napi.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct ring {
	struct ring_buffer *buffer;
	int map; /* our own descriptor: the watch ends with it */
	/* Of the read that goes on. */
	struct call *call;
	napi_value records;
	uint32_t count;
	uint32_t limit;
};

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	ring_buffer__free(ring->buffer);
	if (ring->map >= 0)
		close(ring->map);
	free(ring);
}

/* A negative result ends the read behind this record; nothing is lost. */
static int take_record(void *context, void *data, size_t length)
{
	struct ring *ring = context;
	napi_value record = result_bytes(ring->call, data, length);

	if (!record ||
	    napi_set_element(ring->call->env, ring->records, ring->count, record) != napi_ok)
		return -ENOMEM;
	ring->count++;
	return ring->count < ring->limit ? 0 : -ENOBUFS;
}

static napi_value ring_open(struct call *call)
{
	struct handle content = { .kind = HANDLE_RING }, *map;
	napi_value result;
	int error = ENOMEM;

	if (!argument_handle(call, 0, HANDLE_MAP, &map))
		return NULL;
	content.ring = calloc(1, sizeof(*content.ring));
	if (!content.ring)
		return fail(call, ENOMEM, map->label);
	content.ring->map = fcntl(map->fd, F_DUPFD_CLOEXEC, 0);
	if (content.ring->map < 0) {
		error = errno;
	} else {
		content.ring->buffer =
			ring_buffer__new(content.ring->map, take_record, content.ring, NULL);
		if (!content.ring->buffer)
			error = errno;
	}
	if (!content.ring->buffer) {
		ring_free(content.ring);
		return fail(call, error, map->label);
	}
	result = handle_create(call, &content, map->label);
	if (!result)
		ring_free(content.ring);
	return result;
}

static napi_value ring_descriptor(struct call *call)
{
	struct handle *handle;

	if (!argument_handle(call, 0, HANDLE_RING, &handle))
		return NULL;
	return result_u32(call, ring_buffer__epoll_fd(handle->ring->buffer));
}

static napi_value ring_read(struct call *call)
{
	struct handle *handle;
	struct ring *ring;
	int status;

	if (!argument_handle(call, 0, HANDLE_RING, &handle))
		return NULL;
	ring = handle->ring;
	if (!argument_u32(call, 1, &ring->limit))
		return NULL;
	if (!ring->limit)
		return fail(call, EINVAL, handle->label);
	if (napi_create_array(call->env, &ring->records) != napi_ok)
		return NULL;
	ring->call = call;
	ring->count = 0;
	status = ring_buffer__consume(ring->buffer);
	ring->call = NULL;
	if (status == -ENOMEM)
		return NULL; /* take_record() has left an exception */
	if (status < 0 && status != -ENOBUFS)
		return fail(call, status, handle->label);
	return ring->records;
}

static napi_value ring_close(struct call *call)
{
	struct handle *handle;

	if (!argument_closing(call, 0, HANDLE_RING, &handle))
		return NULL;
	if (handle->open) {
		handle->open = false;
		ring_free(handle->ring);
	}
	return result_undefined(call);
}

const struct binding ring_bindings[] = {
	{ "ringOpen", ring_open },
	{ "ringDescriptor", ring_descriptor },
	{ "ringRead", ring_read },
	{ "ringClose", ring_close },
	{ NULL, NULL },
};
