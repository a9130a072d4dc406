/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments, handles, results and errors of Node-API, as the other files want
 * them; and libbpf's log, which is kept for the error of the present call.
 */
#include "napi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a verifier log, the end is what matters. */
#define LOG_KEPT (1 << 20)
#define ENOTSUPP 524 /* of the kernel only, but bpf(2) returns it */

static const napi_type_tag type_tags[] = {
	[HANDLE_OBJECT] = { 0x786c622d6f626a65, 0x9d1f4a63b0c2e801 },
	[HANDLE_MAP] = { 0x786c622d6d617000, 0x4be7d20c91f3a602 },
	[HANDLE_PROGRAM] = { 0x786c622d70726f67, 0xc3085e7ba46d1f03 },
	[HANDLE_LINK] = { 0x786c622d6c696e6b, 0x71a9b6d4f80e2c04 },
	[HANDLE_REGEX] = { 0x786c622d72656765, 0x2e5c93f17d48ab05 },
	[HANDLE_RING] = { 0x786c622d72696e67, 0x5ad7104be69c3f06 },
};

static const char *const kind_names[] = {
	[HANDLE_OBJECT] = "object",
	[HANDLE_MAP] = "map",
	[HANDLE_PROGRAM] = "program",
	[HANDLE_LINK] = "link",
	[HANDLE_REGEX] = "regular expression",
	[HANDLE_RING] = "ring buffer",
};

static __thread struct log *present_log;

static int log_print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	struct log *log = present_log;
	va_list again;
	int length;

	if (!log || level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length <= 0)
		return 0;
	if (log->length + length + 1 > log->capacity) {
		size_t capacity = log->length + length + 4096;
		char *text = realloc(log->text, capacity);

		if (!text)
			return 0;
		log->text = text;
		log->capacity = capacity;
	}
	vsnprintf(log->text + log->length, length + 1, format, arguments);
	log->length += length;
	return 0;
}

void log_install(void)
{
	libbpf_set_print(log_print);
}

void log_begin(struct log *log)
{
	log->length = 0;
	present_log = log;
}

void log_end(void)
{
	present_log = NULL;
}

/* errno's name, or one for what libbpf and the kernel's inside add to them. */
static const char *error_code(int error)
{
	const char *name = strerrorname_np(error);

	if (name)
		return name;
	if (error == ENOTSUPP)
		return "ENOTSUPP";
	switch (error) {
	case LIBBPF_ERRNO__LIBELF:
		return "LIBBPF_LIBELF";
	case LIBBPF_ERRNO__FORMAT:
		return "LIBBPF_FORMAT";
	case LIBBPF_ERRNO__KVERSION:
		return "LIBBPF_KVERSION";
	case LIBBPF_ERRNO__ENDIAN:
		return "LIBBPF_ENDIAN";
	case LIBBPF_ERRNO__INTERNAL:
		return "LIBBPF_INTERNAL";
	case LIBBPF_ERRNO__RELOC:
		return "LIBBPF_RELOC";
	case LIBBPF_ERRNO__LOAD:
		return "LIBBPF_LOAD";
	case LIBBPF_ERRNO__VERIFY:
		return "LIBBPF_VERIFY";
	case LIBBPF_ERRNO__PROG2BIG:
		return "LIBBPF_PROG2BIG";
	default:
		return "LIBBPF_OTHER";
	}
}

static void throw_error(struct call *call, int error, const char *object, const char *text)
{
	const struct log *log = &call->instance->log;
	napi_value code, message, exception, value;
	size_t skipped = 0;
	char *composed;
	bool named = object && object[0];

	if (asprintf(&composed, "%s%s%s: %s (%s)", call->name, named ? " " : "",
		     named ? object : "", text, error_code(error)) < 0) {
		napi_throw_error(call->env, "ENOMEM", call->name);
		return;
	}
	napi_create_string_utf8(call->env, error_code(error), NAPI_AUTO_LENGTH, &code);
	napi_create_string_utf8(call->env, composed, NAPI_AUTO_LENGTH, &message);
	free(composed);
	if (napi_create_error(call->env, code, message, &exception) != napi_ok)
		return;
	napi_create_int32(call->env, error, &value);
	napi_set_named_property(call->env, exception, "errno", value);
	set_string(call, exception, "call", call->name);
	set_string(call, exception, "object", object ? object : "");
	if (log->length > LOG_KEPT)
		skipped = log->length - LOG_KEPT;
	napi_create_string_utf8(call->env, log->length ? log->text + skipped : "",
				log->length - skipped, &value);
	napi_set_named_property(call->env, exception, "log", value);
	napi_throw(call->env, exception);
}

napi_value fail(struct call *call, int error, const char *object)
{
	char text[128];

	error = abs(error);
	if (error == ENOTSUPP)
		snprintf(text, sizeof(text), "operation is not supported");
	else
		libbpf_strerror(error, text, sizeof(text));
	throw_error(call, error, object, text);
	return NULL;
}

napi_value fail_text(struct call *call, int error, const char *object, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return fail(call, ENOMEM, object);
	throw_error(call, abs(error), object, text);
	free(text);
	return NULL;
}

static bool argument_wrong(struct call *call, int index, const char *wanted)
{
	fail_text(call, EINVAL, NULL, "argument %d is not %s", index + 1, wanted);
	return false;
}

static bool argument_integer(struct call *call, int index, double minimum, double maximum,
			     double *result)
{
	if (napi_get_value_double(call->env, call->argv[index], result) == napi_ok &&
	    *result >= minimum && *result <= maximum && *result == trunc(*result))
		return true;
	fail_text(call, EINVAL, NULL, "argument %d is not an integer from %.0f to %.0f", index + 1,
		  minimum, maximum);
	return false;
}

bool argument_u32(struct call *call, int index, uint32_t *result)
{
	double value;

	if (!argument_integer(call, index, 0, UINT32_MAX, &value))
		return false;
	*result = (uint32_t)value;
	return true;
}

bool argument_int(struct call *call, int index, int *result)
{
	double value;

	if (!argument_integer(call, index, INT_MIN, INT_MAX, &value))
		return false;
	*result = (int)value;
	return true;
}

bool argument_bool(struct call *call, int index, bool *result)
{
	if (napi_get_value_bool(call->env, call->argv[index], result) == napi_ok)
		return true;
	return argument_wrong(call, index, "a boolean");
}

bool argument_bytes(struct call *call, int index, struct bytes *result)
{
	napi_typedarray_type type;
	bool is_typed_array;
	void *data;

	if (napi_is_typedarray(call->env, call->argv[index], &is_typed_array) != napi_ok ||
	    !is_typed_array ||
	    napi_get_typedarray_info(call->env, call->argv[index], &type, &result->length, &data,
				     NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		return argument_wrong(call, index, "an Uint8Array");
	result->data = data;
	return true;
}

bool argument_is_undefined(struct call *call, int index)
{
	napi_valuetype type;

	return napi_typeof(call->env, call->argv[index], &type) == napi_ok &&
	       type == napi_undefined;
}

bool argument_string(struct call *call, int index, char **result)
{
	size_t length;

	if (napi_get_value_string_utf8(call->env, call->argv[index], NULL, 0, &length) != napi_ok)
		return argument_wrong(call, index, "a string");
	*result = malloc(length + 1);
	if (!*result) {
		fail(call, ENOMEM, NULL);
		return false;
	}
	napi_get_value_string_utf8(call->env, call->argv[index], *result, length + 1, &length);
	if (strlen(*result) == length)
		return true;
	free(*result);
	return argument_wrong(call, index, "a string without zero bytes");
}

bool argument_path(struct call *call, int index, char path[PATH_MAX])
{
	char *text;

	if (!argument_string(call, index, &text))
		return false;
	if (strlen(text) >= PATH_MAX) {
		fail(call, ENAMETOOLONG, text);
		free(text);
		return false;
	}
	strcpy(path, text);
	free(text);
	return true;
}

bool argument_closing(struct call *call, int index, enum handle_kind kind, struct handle **result)
{
	napi_valuetype type = napi_undefined;
	bool tagged = false;
	char wanted[48];
	void *data;

	/* Of anything but an object, asking for the tag would throw on its own. */
	napi_typeof(call->env, call->argv[index], &type);
	if (type == napi_object &&
	    napi_check_object_type_tag(call->env, call->argv[index], &type_tags[kind], &tagged) ==
		    napi_ok &&
	    tagged && napi_unwrap(call->env, call->argv[index], &data) == napi_ok) {
		*result = data;
		return true;
	}
	snprintf(wanted, sizeof(wanted), "a handle of a %s", kind_names[kind]);
	return argument_wrong(call, index, wanted);
}

bool argument_handle(struct call *call, int index, enum handle_kind kind, struct handle **result)
{
	if (!argument_closing(call, index, kind, result))
		return false;
	if ((*result)->open)
		return true;
	fail_text(call, EBADF, (*result)->label, "the %s is closed", kind_names[kind]);
	return false;
}

static void handle_finalize(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)env;
	(void)hint;
	if (handle->open) {
		switch (handle->kind) {
		case HANDLE_MAP:
		case HANDLE_PROGRAM:
			close(handle->fd);
			break;
		case HANDLE_REGEX:
			regex_free(handle->regex);
			break;
		case HANDLE_RING:
			ring_free(handle->ring);
			break;
		case HANDLE_OBJECT:
		case HANDLE_LINK:
			/* Left to the end of the process: see napi.h. */
			break;
		}
	}
	free(handle);
}

napi_value handle_create(struct call *call, const struct handle *content, const char *label)
{
	size_t length = strlen(label);
	struct handle *handle = malloc(sizeof(*handle) + length + 1);
	napi_value object;

	if (!handle)
		return fail(call, ENOMEM, label);
	*handle = *content;
	handle->open = true;
	memcpy(handle->label, label, length + 1);
	if (napi_create_object(call->env, &object) != napi_ok ||
	    napi_wrap(call->env, object, handle, handle_finalize, NULL, NULL) != napi_ok) {
		free(handle);
		return fail(call, ENOMEM, label);
	}
	if (napi_type_tag_object(call->env, object, &type_tags[content->kind]) != napi_ok) {
		/* The caller keeps what the handle would have owned. */
		handle->open = false;
		return fail(call, ENOMEM, label);
	}
	return object;
}

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

/* The kernel copies by the map's sizes, whatever the caller's buffer has. */
static int map_layout_read(int fd, struct map_layout *layout)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);
	int error = bpf_obj_get_info_by_fd(fd, &info, &length);

	if (error)
		return error;
	layout->id = info.id;
	layout->type = info.type;
	layout->key_size = info.key_size;
	layout->value_size = info.value_size;
	layout->max_entries = info.max_entries;
	layout->flags = info.map_flags;
	layout->transfer_size = info.value_size;
	snprintf(layout->name, sizeof(layout->name), "%.*s", (int)sizeof(info.name), info.name);
	if (is_per_cpu(info.type)) {
		int cpus = libbpf_num_possible_cpus();

		if (cpus < 0)
			return cpus;
		layout->transfer_size = (((size_t)info.value_size + 7) & ~(size_t)7) * cpus;
	}
	return 0;
}

napi_value handle_create_fd(struct call *call, enum handle_kind kind, int fd, const char *label)
{
	struct handle content = { .kind = kind, .fd = fd };
	napi_value result;
	int error;

	if (kind == HANDLE_MAP) {
		error = map_layout_read(fd, &content.map);
		if (error) {
			close(fd);
			return fail(call, error, label);
		}
	}
	result = handle_create(call, &content, label);
	if (!result)
		close(fd);
	return result;
}

/* What a BPF descriptor is, told by the first words of its fdinfo. */
static bool descriptor_is(int fd, enum handle_kind kind)
{
	static const char *const words[] = {
		[HANDLE_MAP] = "\nmap_type:",
		[HANDLE_PROGRAM] = "\nprog_type:",
		[HANDLE_LINK] = "\nlink_type:",
	};
	char path[48], text[1024];
	ssize_t length;
	int information;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	information = open(path, O_RDONLY | O_CLOEXEC);
	if (information < 0)
		return true; /* without /proc the kernel's own checks remain */
	do
		length = read(information, text, sizeof(text) - 1);
	while (length < 0 && errno == EINTR);
	close(information);
	if (length <= 0)
		return true;
	text[length] = 0;
	return strstr(text, words[kind]) != NULL;
}

napi_value handle_open_pinned(struct call *call, enum handle_kind kind)
{
	char path[PATH_MAX];
	int fd;

	if (!argument_path(call, 0, path))
		return NULL;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fail(call, fd, path);
	if (!descriptor_is(fd, kind)) {
		close(fd);
		return fail_text(call, EINVAL, path, "is not a pinned %s", kind_names[kind]);
	}
	return handle_create_fd(call, kind, fd, path);
}

napi_value handle_pin(struct call *call, enum handle_kind kind)
{
	struct handle *handle;
	char path[PATH_MAX];
	int error;

	if (!argument_handle(call, 0, kind, &handle) || !argument_path(call, 1, path))
		return NULL;
	error = bpf_obj_pin(handle->fd, path);
	if (error)
		return fail(call, error, path);
	return result_undefined(call);
}

napi_value handle_close_fd(struct call *call, enum handle_kind kind)
{
	struct handle *handle;

	if (!argument_closing(call, 0, kind, &handle))
		return NULL;
	if (handle->open) {
		handle->open = false;
		close(handle->fd);
	}
	return result_undefined(call);
}

napi_value result_undefined(struct call *call)
{
	napi_value result;

	if (napi_get_undefined(call->env, &result) != napi_ok)
		return NULL;
	return result;
}

napi_value result_u32(struct call *call, uint32_t value)
{
	napi_value result;

	if (napi_create_uint32(call->env, value, &result) != napi_ok)
		return NULL;
	return result;
}

napi_value result_bool(struct call *call, bool value)
{
	napi_value result;

	if (napi_get_boolean(call->env, value, &result) != napi_ok)
		return NULL;
	return result;
}

napi_value result_bytes(struct call *call, const void *data, size_t length)
{
	napi_value result;

	if (napi_create_buffer_copy(call->env, length, data, NULL, &result) != napi_ok)
		return fail(call, ENOMEM, NULL);
	return result;
}

napi_value result_object(struct call *call)
{
	napi_value result;

	if (napi_create_object(call->env, &result) != napi_ok)
		return NULL;
	return result;
}

bool set_u32(struct call *call, napi_value object, const char *name, uint32_t value)
{
	napi_value number = result_u32(call, value);

	return number && napi_set_named_property(call->env, object, name, number) == napi_ok;
}

bool set_string(struct call *call, napi_value object, const char *name, const char *value)
{
	napi_value string;

	return napi_create_string_utf8(call->env, value, NAPI_AUTO_LENGTH, &string) == napi_ok &&
	       napi_set_named_property(call->env, object, name, string) == napi_ok;
}
