/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry of the addon: exports the functions of all files under the names
 * of the interface `Native` in src/native.ts, and sets up what an environment
 * owns. Every call passes dispatch().
 */
#include "napi.h"

#include <errno.h>
#include <stdlib.h>

static const struct binding *const tables[] = {
	object_bindings, map_bindings,	  link_bindings,  test_run_bindings,
	ring_bindings,	 socket_bindings, regex_bindings, filesystem_bindings,
};

static napi_value dispatch(napi_env env, napi_callback_info info)
{
	struct call call = { .env = env };
	size_t count = MAX_ARGUMENTS;
	const struct binding *binding;
	napi_value result;
	void *data;

	/* Arguments that were not passed become undefined. */
	if (napi_get_cb_info(env, info, &count, call.argv, NULL, &data) != napi_ok)
		return NULL;
	binding = data;
	call.name = binding->name;
	if (napi_get_instance_data(env, &data) != napi_ok || !data)
		return NULL;
	call.instance = data;
	log_begin(&call.instance->log);
	result = binding->function(&call);
	log_end();
	return result;
}

static void instance_finalize(napi_env env, void *data, void *hint)
{
	struct instance *instance = data;

	(void)env;
	(void)hint;
	regex_matcher_free(instance->matcher);
	free(instance->log.text);
	free(instance);
}

NAPI_MODULE_INIT()
{
	struct instance *instance = calloc(1, sizeof(*instance));

	if (!instance) {
		napi_throw_error(env, "ENOMEM", "no memory for the addon");
		return NULL;
	}
	instance->sockets = sockets_create(env);
	if (!instance->sockets ||
	    napi_set_instance_data(env, instance, instance_finalize, NULL) != napi_ok) {
		free(instance);
		napi_throw_error(env, "ENOMEM", "no memory for the addon");
		return NULL;
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct binding *b = tables[i]; b->name; b++) {
			napi_value function;

			if (napi_create_function(env, b->name, NAPI_AUTO_LENGTH, dispatch,
						 (void *)b, &function) != napi_ok ||
			    napi_set_named_property(env, exports, b->name, function) != napi_ok)
				return NULL;
		}
	}
	log_install();
	return exports;
}
