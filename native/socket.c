/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets as the kernel has them: netlink, packet, raw ICMP; never blocking.
 * Only descriptors that socketOpen() gave are taken, so a number that was
 * closed, and is something else by now, can do no harm. pollStart() watches
 * on Node's own loop.
 */
#include "napi.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define MAX_RECEIVE (1u << 20)

struct poll {
	uv_poll_t handle;
	struct poll *next;
	struct sockets *owner;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	int fd;
	bool stopped;
};

struct sockets {
	int *fds;
	size_t count;
	size_t capacity;
	struct poll *polls;
	uint8_t *received;
	uint32_t received_size;
	size_t closing; /* polls whose handle is not yet closed */
	napi_async_cleanup_hook_handle cleanup;
	bool finished;
};

static void sockets_free(struct sockets *sockets)
{
	napi_async_cleanup_hook_handle cleanup = sockets->cleanup;

	free(sockets->received);
	free(sockets->fds);
	free(sockets);
	napi_remove_async_cleanup_hook(cleanup);
}

static void poll_closed(uv_handle_t *handle)
{
	struct poll *poll = handle->data;
	struct sockets *owner = poll->owner;

	free(poll);
	owner->closing--;
	if (owner->finished && !owner->closing)
		sockets_free(owner);
}

static void poll_stop(struct poll *poll)
{
	struct poll **place = &poll->owner->polls;

	while (*place != poll)
		place = &(*place)->next;
	*place = poll->next;
	poll->stopped = true;
	poll->owner->closing++;
	napi_delete_reference(poll->env, poll->callback);
	napi_async_destroy(poll->env, poll->context);
	uv_close((uv_handle_t *)&poll->handle, poll_closed);
}

/* The environment ends: a watch left open would keep its loop from ending. */
static void sockets_finish(napi_async_cleanup_hook_handle handle, void *data)
{
	struct sockets *sockets = data;

	(void)handle;
	while (sockets->polls)
		poll_stop(sockets->polls);
	for (size_t i = 0; i < sockets->count; i++)
		close(sockets->fds[i]);
	sockets->finished = true;
	if (!sockets->closing)
		sockets_free(sockets);
}

struct sockets *sockets_create(napi_env env)
{
	struct sockets *sockets = calloc(1, sizeof(*sockets));

	if (!sockets)
		return NULL;
	if (napi_add_async_cleanup_hook(env, sockets_finish, sockets, &sockets->cleanup) !=
	    napi_ok) {
		free(sockets);
		return NULL;
	}
	return sockets;
}

static struct poll *poll_find(struct sockets *sockets, int fd)
{
	struct poll *poll = sockets->polls;

	while (poll && poll->fd != fd)
		poll = poll->next;
	return poll;
}

static napi_value fail_socket(struct call *call, int error, int fd)
{
	char label[32];

	snprintf(label, sizeof(label), "socket %d", fd);
	return fail(call, error, label);
}

/* Position of the descriptor among the open sockets, or their count. */
static size_t socket_find(const struct sockets *sockets, int fd)
{
	size_t i = 0;

	while (i < sockets->count && sockets->fds[i] != fd)
		i++;
	return i;
}

static bool argument_socket(struct call *call, int *fd)
{
	const struct sockets *sockets = call->instance->sockets;

	if (!argument_int(call, 0, fd))
		return false;
	if (socket_find(sockets, *fd) < sockets->count)
		return true;
	fail_socket(call, EBADF, *fd);
	return false;
}

static napi_value socket_open(struct call *call)
{
	struct sockets *sockets = call->instance->sockets;
	int domain, type, protocol, fd;
	char label[64];

	if (!argument_int(call, 0, &domain) || !argument_int(call, 1, &type) ||
	    !argument_int(call, 2, &protocol))
		return NULL;
	snprintf(label, sizeof(label), "domain %d type %d protocol %d", domain, type, protocol);
	if (sockets->count == sockets->capacity) {
		size_t capacity = sockets->capacity ? 2 * sockets->capacity : 8;
		int *grown = realloc(sockets->fds, capacity * sizeof(*grown));

		if (!grown)
			return fail(call, ENOMEM, label);
		sockets->fds = grown;
		sockets->capacity = capacity;
	}
	fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return fail(call, errno, label);
	sockets->fds[sockets->count++] = fd;
	return result_u32(call, fd);
}

static napi_value socket_bind(struct call *call)
{
	struct bytes address;
	int fd;

	if (!argument_socket(call, &fd) || !argument_bytes(call, 1, &address))
		return NULL;
	if (address.length > sizeof(struct sockaddr_storage))
		return fail_socket(call, EINVAL, fd);
	if (bind(fd, (struct sockaddr *)address.data, address.length))
		return fail_socket(call, errno, fd);
	return result_undefined(call);
}

static napi_value socket_option(struct call *call)
{
	int fd, level, name, number;
	struct bytes value;
	napi_valuetype type;

	if (!argument_socket(call, &fd) || !argument_int(call, 1, &level) ||
	    !argument_int(call, 2, &name))
		return NULL;
	if (napi_typeof(call->env, call->argv[3], &type) == napi_ok && type == napi_number) {
		if (!argument_int(call, 3, &number))
			return NULL;
		value.data = (uint8_t *)&number;
		value.length = sizeof(number);
	} else if (!argument_bytes(call, 3, &value)) {
		return NULL;
	}
	if (setsockopt(fd, level, name, value.data, value.length))
		return fail_socket(call, errno, fd);
	return result_undefined(call);
}

static napi_value socket_send(struct call *call)
{
	struct bytes data, address = {};
	ssize_t sent;
	int fd;

	if (!argument_socket(call, &fd) || !argument_bytes(call, 1, &data))
		return NULL;
	if (!argument_is_undefined(call, 2) && !argument_bytes(call, 2, &address))
		return NULL;
	if (address.length > sizeof(struct sockaddr_storage))
		return fail_socket(call, EINVAL, fd);
	do
		sent = sendto(fd, data.data, data.length, MSG_NOSIGNAL,
			      address.length ? (struct sockaddr *)address.data : NULL,
			      address.length);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return fail_socket(call, errno, fd);
	return result_u32(call, sent);
}

static napi_value socket_receive(struct call *call)
{
	struct sockets *sockets = call->instance->sockets;
	struct sockaddr_storage address;
	socklen_t address_length = sizeof(address);
	napi_value result, data, from;
	ssize_t length;
	uint32_t size;
	int fd;

	if (!argument_socket(call, &fd) || !argument_u32(call, 1, &size))
		return NULL;
	if (size > MAX_RECEIVE)
		size = MAX_RECEIVE;
	if (size > sockets->received_size) {
		uint8_t *grown = realloc(sockets->received, size);

		if (!grown)
			return fail_socket(call, ENOMEM, fd);
		sockets->received = grown;
		sockets->received_size = size;
	}
	do
		length = recvfrom(fd, sockets->received, size, MSG_DONTWAIT,
				  (struct sockaddr *)&address, &address_length);
	while (length < 0 && errno == EINTR);
	if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return result_undefined(call);
	if (length < 0)
		return fail_socket(call, errno, fd);
	if (address_length > sizeof(address))
		address_length = sizeof(address);
	result = result_object(call);
	data = result ? result_bytes(call, sockets->received, length) : NULL;
	from = data ? result_bytes(call, &address, address_length) : NULL;
	if (!from || napi_set_named_property(call->env, result, "data", data) != napi_ok ||
	    napi_set_named_property(call->env, result, "address", from) != napi_ok)
		return NULL;
	return result;
}

static napi_value socket_close(struct call *call)
{
	struct sockets *sockets = call->instance->sockets;
	struct poll *poll;
	size_t position;
	int fd;

	if (!argument_int(call, 0, &fd))
		return NULL;
	position = socket_find(sockets, fd);
	if (position == sockets->count)
		return result_undefined(call);
	poll = poll_find(sockets, fd);
	if (poll)
		poll_stop(poll);
	sockets->fds[position] = sockets->fds[--sockets->count];
	close(fd);
	return result_undefined(call);
}

static void poll_readable(uv_poll_t *handle, int status, int events)
{
	struct poll *poll = handle->data;
	napi_env env = poll->env;
	napi_value callback, global, exception;
	napi_handle_scope scope;

	(void)events;
	/*
	 * libuv stops at POLLERR, which a netlink socket shows when it has
	 * lost messages (ENOBUFS). The reader learns of it by receiving, which
	 * also clears it; so the watch goes on.
	 */
	if (status < 0 && uv_poll_start(handle, UV_READABLE, poll_readable))
		return;
	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	if (napi_get_reference_value(env, poll->callback, &callback) == napi_ok &&
	    napi_get_global(env, &global) == napi_ok &&
	    napi_make_callback(env, poll->context, global, callback, 0, NULL, NULL) ==
		    napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &exception) == napi_ok)
		napi_fatal_exception(env, exception);
	napi_close_handle_scope(env, scope);
}

/* After this a failing start is undone by poll_stop(). */
static bool poll_prepare(struct call *call, struct poll *poll)
{
	napi_value name;

	if (napi_create_string_utf8(call->env, "xlb.poll", NAPI_AUTO_LENGTH, &name) != napi_ok ||
	    napi_async_init(call->env, NULL, name, &poll->context) != napi_ok)
		return false;
	if (napi_create_reference(call->env, call->argv[1], 1, &poll->callback) == napi_ok)
		return true;
	napi_async_destroy(call->env, poll->context);
	return false;
}

static napi_value poll_start(struct call *call)
{
	struct sockets *sockets = call->instance->sockets;
	napi_valuetype type;
	struct poll *poll;
	uv_loop_t *loop;
	int fd, error;

	if (!argument_int(call, 0, &fd))
		return NULL;
	if (napi_typeof(call->env, call->argv[1], &type) != napi_ok || type != napi_function)
		return fail_text(call, EINVAL, NULL, "argument 2 is not a function");
	if (poll_find(sockets, fd))
		return fail_socket(call, EEXIST, fd);
	poll = calloc(1, sizeof(*poll));
	if (!poll)
		return fail_socket(call, ENOMEM, fd);
	poll->env = call->env;
	poll->fd = fd;
	poll->owner = sockets;
	poll->handle.data = poll;
	if (napi_get_uv_event_loop(call->env, &loop) != napi_ok || !poll_prepare(call, poll)) {
		free(poll);
		return fail_socket(call, ENOMEM, fd);
	}
	error = uv_poll_init(loop, &poll->handle, fd);
	if (error) {
		napi_delete_reference(call->env, poll->callback);
		napi_async_destroy(call->env, poll->context);
		free(poll);
		return fail_socket(call, error, fd);
	}
	poll->next = sockets->polls;
	sockets->polls = poll;
	error = uv_poll_start(&poll->handle, UV_READABLE, poll_readable);
	if (error) {
		poll_stop(poll);
		return fail_socket(call, error, fd);
	}
	return result_undefined(call);
}

static napi_value poll_stop_call(struct call *call)
{
	struct poll *poll;
	int fd;

	if (!argument_int(call, 0, &fd))
		return NULL;
	poll = poll_find(call->instance->sockets, fd);
	if (poll)
		poll_stop(poll);
	return result_undefined(call);
}

static napi_value interface_index(struct call *call)
{
	uint32_t index;
	napi_value result;
	char *name;

	if (!argument_string(call, 0, &name))
		return NULL;
	index = if_nametoindex(name);
	if (!index && errno != ENODEV && errno != ENXIO)
		result = fail(call, errno, name);
	else
		result = result_u32(call, index);
	free(name);
	return result;
}

const struct binding socket_bindings[] = {
	{ "socketOpen", socket_open },	       { "socketBind", socket_bind },
	{ "socketOption", socket_option },     { "socketSend", socket_send },
	{ "socketReceive", socket_receive },   { "socketClose", socket_close },
	{ "pollStart", poll_start },	       { "pollStop", poll_stop_call },
	{ "interfaceIndex", interface_index }, { NULL, NULL },
};
