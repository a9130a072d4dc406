/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all files of the addon share: a call and its arguments, handles, bytes
 * and errors. Each exported function reads its arguments, makes one call of
 * libbpf or the kernel, and returns a value or throws. An argument function
 * that returns false, and every fail_*(), has left a JavaScript exception
 * pending: return at once.
 */
#ifndef XLB_NAPI_H
#define XLB_NAPI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define NAPI_VERSION 8

#include <limits.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ARGUMENTS 5

/* Node exports its own symbols to addons: no name of ours may meet one. */
#pragma GCC visibility push(hidden)

struct bpf_object;
struct regex;
struct ring;
struct regex_matcher;
struct sockets;

/* libbpf's messages of the present call. */
struct log {
	char *text;
	size_t length;
	size_t capacity;
};

/* What one JavaScript environment (main thread or worker) owns. */
struct instance {
	struct log log;
	struct sockets *sockets;       /* freed by its own clean-up hook */
	struct regex_matcher *matcher; /* made by the first regexTest() */
};

struct call {
	napi_env env;
	struct instance *instance;
	const char *name; /* as exported */
	napi_value argv[MAX_ARGUMENTS];
};

struct binding {
	const char *name;
	napi_value (*function)(struct call *call);
};

/* Each table ends with a null name. */
extern const struct binding object_bindings[];
extern const struct binding map_bindings[];
extern const struct binding link_bindings[];
extern const struct binding test_run_bindings[];
extern const struct binding socket_bindings[];
extern const struct binding regex_bindings[];
extern const struct binding ring_bindings[];
extern const struct binding filesystem_bindings[];

/*
 * A handle is a tagged JavaScript object around one of these. Its finalizer
 * closes file descriptors of maps and programs, which own nothing but memory;
 * never an object, nor a link: losing the last reference to a handle must not
 * stop traffic.
 */
enum handle_kind {
	HANDLE_OBJECT,
	HANDLE_MAP,
	HANDLE_PROGRAM,
	HANDLE_LINK,
	HANDLE_REGEX,
	HANDLE_RING,
};

struct map_layout {
	uint32_t id;
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	uint32_t flags;
	/* What the kernel copies for one value: of per-CPU maps, all CPUs'. */
	size_t transfer_size;
	char name[16];
};

struct handle {
	enum handle_kind kind;
	bool open;
	int fd; /* map, program, link */
	struct bpf_object *object;
	struct regex *regex;
	struct ring *ring;
	struct map_layout map;
	char label[]; /* what errors name */
};

struct bytes {
	uint8_t *data;
	size_t length;
};

/* Arguments; `index` counts from 0. */
bool argument_u32(struct call *call, int index, uint32_t *result);
bool argument_int(struct call *call, int index, int *result);
bool argument_bool(struct call *call, int index, bool *result);
bool argument_bytes(struct call *call, int index, struct bytes *result);
bool argument_is_undefined(struct call *call, int index);
/* Without a zero byte inside; to be freed with free(). */
bool argument_string(struct call *call, int index, char **result);
bool argument_path(struct call *call, int index, char path[PATH_MAX]);
/* An open handle of that kind. */
bool argument_handle(struct call *call, int index, enum handle_kind kind, struct handle **result);
/* The same, but open or closed: for closing. */
bool argument_closing(struct call *call, int index, enum handle_kind kind, struct handle **result);

/* Takes over `fd`, also when it fails. */
napi_value handle_create_fd(struct call *call, enum handle_kind kind, int fd, const char *label);
napi_value handle_create(struct call *call, const struct handle *content, const char *label);
/* Opens a pin after making sure that it is of that kind. */
napi_value handle_open_pinned(struct call *call, enum handle_kind kind);
napi_value handle_pin(struct call *call, enum handle_kind kind);
napi_value handle_close_fd(struct call *call, enum handle_kind kind);

/* Results. */
napi_value result_undefined(struct call *call);
napi_value result_u32(struct call *call, uint32_t value);
napi_value result_bool(struct call *call, bool value);
napi_value result_bytes(struct call *call, const void *data, size_t length);
napi_value result_object(struct call *call);
bool set_u32(struct call *call, napi_value object, const char *name, uint32_t value);
bool set_string(struct call *call, napi_value object, const char *name, const char *value);

/* Errors: `error` is an errno, positive or negative; `object` may be null. */
napi_value fail(struct call *call, int error, const char *object);
napi_value fail_text(struct call *call, int error, const char *object, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* libbpf's messages go to the call that runs on this thread. */
void log_install(void);
void log_begin(struct log *log);
void log_end(void);

struct sockets *sockets_create(napi_env env);
void regex_free(struct regex *regex);
void ring_free(struct ring *ring);
void regex_matcher_free(struct regex_matcher *matcher);

#pragma GCC visibility pop

#endif
