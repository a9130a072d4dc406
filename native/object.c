/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF objects: opened from bytes, adjusted, loaded. Handles of their maps and
 * programs have file descriptors of their own and outlive the object.
 */
#include "napi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static napi_value object_open(struct call *call)
{
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct handle content = { .kind = HANDLE_OBJECT };
	struct bytes bytes;
	napi_value result;
	char *name;

	if (!argument_bytes(call, 0, &bytes) || !argument_string(call, 1, &name))
		return NULL;
	options.object_name = name;
	/* libbpf copies what it needs; the bytes are not used after this. */
	content.object = bpf_object__open_mem(bytes.data, bytes.length, &options);
	if (!content.object) {
		fail(call, errno, name);
		free(name);
		return NULL;
	}
	result = handle_create(call, &content, name);
	if (!result)
		bpf_object__close(content.object);
	free(name);
	return result;
}

/*
 * libbpf calls the standard data sections' maps "<object>.rodata"; here they
 * are ".rodata", as their lookup by name has it, like ".data.<name>".
 */
static const char *map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	const char *suffix;

	if (!bpf_map__is_internal(map) || name[0] == '.')
		return name;
	suffix = strrchr(name, '.');
	return suffix ? suffix : name;
}

static bool append_name(struct call *call, napi_value names, uint32_t index, const char *name)
{
	napi_value string;

	return napi_create_string_utf8(call->env, name, NAPI_AUTO_LENGTH, &string) == napi_ok &&
	       napi_set_element(call->env, names, index, string) == napi_ok;
}

static napi_value object_map_names(struct call *call)
{
	struct handle *handle;
	struct bpf_map *map;
	uint32_t index = 0;
	napi_value names;

	if (!argument_handle(call, 0, HANDLE_OBJECT, &handle) ||
	    napi_create_array(call->env, &names) != napi_ok)
		return NULL;
	bpf_object__for_each_map (map, handle->object)
		if (!append_name(call, names, index++, map_name(map)))
			return NULL;
	return names;
}

static napi_value object_program_names(struct call *call)
{
	struct bpf_program *program;
	struct handle *handle;
	uint32_t index = 0;
	napi_value names;

	if (!argument_handle(call, 0, HANDLE_OBJECT, &handle) ||
	    napi_create_array(call->env, &names) != napi_ok)
		return NULL;
	bpf_object__for_each_program (program, handle->object)
		if (!append_name(call, names, index++, bpf_program__name(program)))
			return NULL;
	return names;
}

/* Argument 0 is the object, argument 1 the name of one of its maps. */
static struct bpf_map *argument_map(struct call *call, char **name)
{
	struct handle *handle;
	struct bpf_map *map;

	if (!argument_handle(call, 0, HANDLE_OBJECT, &handle) || !argument_string(call, 1, name))
		return NULL;
	map = bpf_object__find_map_by_name(handle->object, *name);
	if (!map) {
		fail_text(call, ENOENT, *name, "no such map in %s", handle->label);
		free(*name);
	}
	return map;
}

static struct bpf_program *argument_program(struct call *call, char **name)
{
	struct bpf_program *program;
	struct handle *handle;

	if (!argument_handle(call, 0, HANDLE_OBJECT, &handle) || !argument_string(call, 1, name))
		return NULL;
	program = bpf_object__find_program_by_name(handle->object, *name);
	if (!program) {
		fail_text(call, ENOENT, *name, "no such program in %s", handle->label);
		free(*name);
	}
	return program;
}

/* Ends a call that named a map or program; frees the name. */
static napi_value finish(struct call *call, int error, char *name)
{
	napi_value result = error ? fail(call, error, name) : result_undefined(call);

	free(name);
	return result;
}

static napi_value object_set_max_entries(struct call *call)
{
	struct bpf_map *map;
	uint32_t entries;
	char *name;

	if (!argument_u32(call, 2, &entries))
		return NULL;
	map = argument_map(call, &name);
	if (!map)
		return NULL;
	return finish(call, bpf_map__set_max_entries(map, entries), name);
}

static napi_value object_set_pin_path(struct call *call)
{
	char path[PATH_MAX], *name;
	struct bpf_map *map;

	if (!argument_path(call, 2, path))
		return NULL;
	map = argument_map(call, &name);
	if (!map)
		return NULL;
	return finish(call, bpf_map__set_pin_path(map, path), name);
}

static napi_value object_reuse_map(struct call *call)
{
	struct handle *reused;
	struct bpf_map *map;
	char *name;

	if (!argument_handle(call, 2, HANDLE_MAP, &reused))
		return NULL;
	map = argument_map(call, &name);
	if (!map)
		return NULL;
	return finish(call, bpf_map__reuse_fd(map, reused->fd), name);
}

static napi_value object_set_autoload(struct call *call)
{
	struct bpf_program *program;
	bool autoload;
	char *name;

	if (!argument_bool(call, 2, &autoload))
		return NULL;
	program = argument_program(call, &name);
	if (!program)
		return NULL;
	return finish(call, bpf_program__set_autoload(program, autoload), name);
}

static napi_value object_initial_value(struct call *call)
{
	struct bpf_map *map;
	napi_value result;
	const void *value;
	size_t size = 0;
	char *name;

	map = argument_map(call, &name);
	if (!map)
		return NULL;
	value = bpf_map__initial_value(map, &size);
	result = value ? result_bytes(call, value, size)
		       : fail_text(call, EINVAL, name, "is not the map of a data section");
	free(name);
	return result;
}

static napi_value object_set_initial_value(struct call *call)
{
	struct bytes value;
	struct bpf_map *map;
	size_t size = 0;
	char *name;

	if (!argument_bytes(call, 2, &value))
		return NULL;
	map = argument_map(call, &name);
	if (!map)
		return NULL;
	if (bpf_map__initial_value(map, &size) && size != value.length) {
		fail_text(call, EINVAL, name, "the value has %zu bytes, the map's %zu",
			  value.length, size);
		free(name);
		return NULL;
	}
	return finish(call, bpf_map__set_initial_value(map, value.data, value.length), name);
}

static napi_value object_load(struct call *call)
{
	sigset_t all, before;
	struct handle *handle;
	int error;

	if (!argument_handle(call, 0, HANDLE_OBJECT, &handle))
		return NULL;
	/* A signal makes the verifier give up with EAGAIN; a profiler's come faster than libbpf tries again. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = bpf_object__load(handle->object);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

/* A handle with a descriptor of its own, which outlives the object's. */
static napi_value duplicate(struct call *call, enum handle_kind kind, int fd, char *name)
{
	napi_value result;
	int copy;

	if (fd < 0) {
		result = fail_text(call, EBADF, name, "is not loaded");
	} else {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		result = copy < 0 ? fail(call, errno, name)
				  : handle_create_fd(call, kind, copy, name);
	}
	free(name);
	return result;
}

static napi_value object_map(struct call *call)
{
	struct bpf_map *map;
	char *name;

	map = argument_map(call, &name);
	if (!map)
		return NULL;
	return duplicate(call, HANDLE_MAP, bpf_map__fd(map), name);
}

static napi_value object_program(struct call *call)
{
	struct bpf_program *program;
	char *name;

	program = argument_program(call, &name);
	if (!program)
		return NULL;
	return duplicate(call, HANDLE_PROGRAM, bpf_program__fd(program), name);
}

static napi_value object_close(struct call *call)
{
	struct handle *handle;

	if (!argument_closing(call, 0, HANDLE_OBJECT, &handle))
		return NULL;
	if (handle->open) {
		handle->open = false;
		bpf_object__close(handle->object);
	}
	return result_undefined(call);
}

const struct binding object_bindings[] = {
	{ "objectOpen", object_open },
	{ "objectMapNames", object_map_names },
	{ "objectProgramNames", object_program_names },
	{ "objectSetMaxEntries", object_set_max_entries },
	{ "objectSetPinPath", object_set_pin_path },
	{ "objectReuseMap", object_reuse_map },
	{ "objectSetAutoload", object_set_autoload },
	{ "objectInitialValue", object_initial_value },
	{ "objectSetInitialValue", object_set_initial_value },
	{ "objectLoad", object_load },
	{ "objectMap", object_map },
	{ "objectProgram", object_program },
	{ "objectClose", object_close },
	{ NULL, NULL },
};
