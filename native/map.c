/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps: single elements, ranges of array maps by batch calls, and mapped
 * memory. Keys and values are bytes; their sizes are compared here with what
 * the kernel said when the handle was made, because the kernel reads and
 * writes by the map's sizes, not by the buffer's.
 */
#include "napi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Elements of one batch call: bounds the memory for their keys. */
#define BATCH 8192u
#define SMALL_VALUE 4096
#define ENOTSUPP 524

static napi_value map_open_pinned(struct call *call)
{
	return handle_open_pinned(call, HANDLE_MAP);
}

static napi_value map_pin(struct call *call)
{
	return handle_pin(call, HANDLE_MAP);
}

static napi_value map_close(struct call *call)
{
	return handle_close_fd(call, HANDLE_MAP);
}

static napi_value map_info(struct call *call)
{
	const struct map_layout *map;
	struct handle *handle;
	napi_value info;

	if (!argument_handle(call, 0, HANDLE_MAP, &handle))
		return NULL;
	map = &handle->map;
	info = result_object(call);
	if (!info || !set_u32(call, info, "id", map->id) ||
	    !set_u32(call, info, "type", map->type) ||
	    !set_u32(call, info, "keySize", map->key_size) ||
	    !set_u32(call, info, "valueSize", map->value_size) ||
	    !set_u32(call, info, "maxEntries", map->max_entries) ||
	    !set_u32(call, info, "flags", map->flags) || !set_string(call, info, "name", map->name))
		return NULL;
	return info;
}

static bool has_size(struct call *call, struct handle *handle, const char *what, size_t present,
		     size_t wanted)
{
	if (present == wanted)
		return true;
	fail_text(call, EINVAL, handle->label, "the %s has %zu bytes, the map's %zu", what, present,
		  wanted);
	return false;
}

/* Arguments 0 and 1: a map, and a key of its size. */
static bool argument_map_key(struct call *call, struct handle **handle, struct bytes *key)
{
	return argument_handle(call, 0, HANDLE_MAP, handle) && argument_bytes(call, 1, key) &&
	       has_size(call, *handle, "key", key->length, (*handle)->map.key_size);
}

static napi_value map_lookup(struct call *call)
{
	uint8_t small[SMALL_VALUE], *value = small;
	struct handle *handle;
	napi_value result;
	struct bytes key;
	size_t size;
	int error;

	if (!argument_map_key(call, &handle, &key))
		return NULL;
	size = handle->map.transfer_size;
	if (size > sizeof(small)) {
		value = malloc(size);
		if (!value)
			return fail(call, ENOMEM, handle->label);
	}
	error = bpf_map_lookup_elem(handle->fd, key.data, value);
	if (error == -ENOENT)
		result = result_undefined(call);
	else if (error)
		result = fail(call, error, handle->label);
	else
		result = result_bytes(call, value, size);
	if (value != small)
		free(value);
	return result;
}

static napi_value map_update(struct call *call)
{
	struct bytes key, value;
	struct handle *handle;
	uint32_t flags;
	int error;

	if (!argument_map_key(call, &handle, &key) || !argument_bytes(call, 2, &value) ||
	    !argument_u32(call, 3, &flags) ||
	    !has_size(call, handle, "value", value.length, handle->map.transfer_size))
		return NULL;
	error = bpf_map_update_elem(handle->fd, key.data, value.data, flags);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

static napi_value map_delete(struct call *call)
{
	struct handle *handle;
	struct bytes key;
	int error;

	if (!argument_map_key(call, &handle, &key))
		return NULL;
	error = bpf_map_delete_elem(handle->fd, key.data);
	if (error && error != -ENOENT)
		return fail(call, error, handle->label);
	return result_bool(call, !error);
}

/*
 * When the key before is deleted meanwhile, the kernel starts again with the
 * first: keys may then come twice, and the map's size bounds how many come.
 */
static napi_value map_keys(struct call *call)
{
	size_t size, count = 0, capacity = 0;
	uint8_t *keys = NULL, *grown;
	struct handle *handle;
	napi_value result;
	int error = 0;

	if (!argument_handle(call, 0, HANDLE_MAP, &handle))
		return NULL;
	size = handle->map.key_size;
	if (!size)
		return fail_text(call, EINVAL, handle->label, "has no keys");
	while (count < handle->map.max_entries) {
		if (count == capacity) {
			capacity = capacity ? 2 * capacity : 64;
			grown = realloc(keys, capacity * size);
			if (!grown) {
				error = -ENOMEM;
				break;
			}
			keys = grown;
		}
		error = bpf_map_get_next_key(handle->fd, count ? keys + (count - 1) * size : NULL,
					     keys + count * size);
		if (error)
			break;
		count++;
	}
	if (error && error != -ENOENT)
		result = fail(call, error, handle->label);
	else
		result = result_bytes(call, keys, count * size);
	free(keys);
	return result;
}

static bool is_array(struct call *call, struct handle *handle, bool per_cpu)
{
	uint32_t type = handle->map.type;

	if (handle->map.key_size == sizeof(uint32_t) &&
	    (type == BPF_MAP_TYPE_ARRAY || (per_cpu && type == BPF_MAP_TYPE_PERCPU_ARRAY)))
		return true;
	fail_text(call, EINVAL, handle->label, "is not an array map%s",
		  per_cpu ? "" : " of shared values");
	return false;
}

static bool is_within(struct call *call, struct handle *handle, uint32_t first, size_t count)
{
	if (first + (uint64_t)count <= handle->map.max_entries)
		return true;
	fail_text(call, ERANGE, handle->label, "%zu elements from %u on are beyond its %u", count,
		  first, handle->map.max_entries);
	return false;
}

/* Of a kernel or a map type without this batch call. */
static bool is_unsupported(int error)
{
	return error == -ENOTSUPP || error == -EOPNOTSUPP || error == -EINVAL;
}

static int read_single(struct handle *handle, uint32_t first, uint32_t count, uint8_t *values)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = first + i;
		int error = bpf_map_lookup_elem(handle->fd, &key,
						values + i * handle->map.transfer_size);

		if (error)
			return error;
	}
	return 0;
}

/* At most BATCH values; `keys` has room for as many. */
static int read_batch(struct handle *handle, uint32_t first, uint32_t count, uint32_t *keys,
		      uint8_t *values)
{
	/* The token of an array's batch is the key before the first one. */
	uint32_t before = first - 1, next, done = count;
	int error = bpf_map_lookup_batch(handle->fd, first ? &before : NULL, &next, keys, values,
					 &done, NULL);

	if (error == -ENOENT)
		error = 0; /* the end of the map; `done` is valid */
	if (is_unsupported(error))
		return read_single(handle, first, count, values);
	if (!error && done < count)
		return read_single(handle, first + done, count - done,
				   values + done * handle->map.transfer_size);
	return error;
}

static napi_value map_read_range(struct call *call)
{
	uint32_t first, count, *keys;
	struct handle *handle;
	napi_value result;
	uint8_t *values;
	int error = 0;
	void *data;
	size_t size;

	if (!argument_handle(call, 0, HANDLE_MAP, &handle) || !argument_u32(call, 1, &first) ||
	    !argument_u32(call, 2, &count) || !is_array(call, handle, true) ||
	    !is_within(call, handle, first, count))
		return NULL;
	size = handle->map.transfer_size;
	if (napi_create_buffer(call->env, count * size, &data, &result) != napi_ok)
		return fail(call, ENOMEM, handle->label);
	values = data;
	keys = malloc(BATCH * sizeof(*keys));
	if (!keys)
		return fail(call, ENOMEM, handle->label);
	for (uint32_t done = 0; done < count && !error; done += BATCH) {
		uint32_t part = count - done < BATCH ? count - done : BATCH;

		error = read_batch(handle, first + done, part, keys, values + done * size);
	}
	free(keys);
	if (error)
		return fail(call, error, handle->label);
	return result;
}

static int write_single(struct handle *handle, uint32_t first, uint32_t count,
			const uint8_t *values)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = first + i;
		int error = bpf_map_update_elem(handle->fd, &key,
						values + i * handle->map.value_size, BPF_ANY);

		if (error)
			return error;
	}
	return 0;
}

static int write_batch(struct handle *handle, uint32_t first, uint32_t count, uint32_t *keys,
		       const uint8_t *values)
{
	uint32_t done = count;
	int error;

	for (uint32_t i = 0; i < count; i++)
		keys[i] = first + i;
	error = bpf_map_update_batch(handle->fd, keys, values, &done, NULL);
	if (is_unsupported(error))
		return write_single(handle, first, count, values);
	return error;
}

static napi_value map_write_range(struct call *call)
{
	struct handle *handle;
	struct bytes values;
	uint32_t first, *keys;
	int error = 0;
	size_t size, count;

	if (!argument_handle(call, 0, HANDLE_MAP, &handle) || !argument_u32(call, 1, &first) ||
	    !argument_bytes(call, 2, &values) || !is_array(call, handle, false))
		return NULL;
	size = handle->map.value_size;
	count = values.length / size;
	if (!has_size(call, handle, "last value", values.length - count * size, 0) ||
	    !is_within(call, handle, first, count))
		return NULL;
	keys = malloc(BATCH * sizeof(*keys));
	if (!keys)
		return fail(call, ENOMEM, handle->label);
	for (size_t done = 0; done < count && !error; done += BATCH) {
		uint32_t part = count - done < BATCH ? count - done : BATCH;

		error = write_batch(handle, first + done, part, keys, values.data + done * size);
	}
	free(keys);
	if (error)
		return fail(call, error, handle->label);
	return result_undefined(call);
}

static void memory_finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	munmap(data, (size_t)(uintptr_t)hint);
}

/* The mapping holds the map, so the memory outlives the handle. */
static napi_value map_memory(struct call *call)
{
	struct handle *handle;
	napi_status status;
	napi_value result;
	bool writable;
	void *memory;
	size_t size;

	if (!argument_handle(call, 0, HANDLE_MAP, &handle) || !argument_bool(call, 1, &writable) ||
	    !is_array(call, handle, false))
		return NULL;
	if (!(handle->map.flags & BPF_F_MMAPABLE))
		return fail_text(call, EINVAL, handle->label, "is not a map with BPF_F_MMAPABLE");
	size = (((size_t)handle->map.value_size + 7) & ~(size_t)7) * handle->map.max_entries;
	memory = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, handle->fd,
		      0);
	if (memory == MAP_FAILED)
		return fail(call, errno, handle->label);
	status = napi_create_external_arraybuffer(call->env, memory, size, memory_finalize,
						  (void *)(uintptr_t)size, &result);
	if (status == napi_ok)
		return result;
	munmap(memory, size);
	return fail_text(call, EOPNOTSUPP, handle->label,
			 "this JavaScript runtime refuses external memory");
}

static napi_value possible_cpus(struct call *call)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return fail(call, cpus, NULL);
	return result_u32(call, cpus);
}

const struct binding map_bindings[] = {
	{ "mapOpenPinned", map_open_pinned },
	{ "mapPin", map_pin },
	{ "mapInfo", map_info },
	{ "mapLookup", map_lookup },
	{ "mapUpdate", map_update },
	{ "mapDelete", map_delete },
	{ "mapKeys", map_keys },
	{ "mapReadRange", map_read_range },
	{ "mapWriteRange", map_write_range },
	{ "mapMemory", map_memory },
	{ "mapClose", map_close },
	{ "possibleCpus", possible_cpus },
	{ NULL, NULL },
};
