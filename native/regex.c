/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Perl's regular expressions by PCRE2, on bytes: no UTF, newline is LF, as in
 * Perl without further flags. A match is bounded in steps and memory, because
 * it runs on Node's loop and the pattern and the reply are others' work.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "napi.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define MATCH_LIMIT 1000000   /* steps; about 50 ms */
#define HEAP_LIMIT 65536      /* KiB */
#define JIT_STACK_START 32768 /* bytes */
#define JIT_STACK_LIMIT 1048576

struct regex {
	pcre2_code *code;
};

/* Serves all matches of an environment, one after the other. */
struct regex_matcher {
	pcre2_match_context *context;
	pcre2_match_data *data;
	pcre2_jit_stack *stack;
};

void regex_free(struct regex *regex)
{
	if (!regex)
		return;
	pcre2_code_free(regex->code);
	free(regex);
}

void regex_matcher_free(struct regex_matcher *matcher)
{
	if (!matcher)
		return;
	pcre2_match_context_free(matcher->context);
	pcre2_match_data_free(matcher->data);
	pcre2_jit_stack_free(matcher->stack);
	free(matcher);
}

static struct regex_matcher *regex_matcher_create(void)
{
	struct regex_matcher *matcher = calloc(1, sizeof(*matcher));

	if (!matcher)
		return NULL;
	matcher->context = pcre2_match_context_create(NULL);
	matcher->data = pcre2_match_data_create(1, NULL);
	if (!matcher->context || !matcher->data) {
		regex_matcher_free(matcher);
		return NULL;
	}
	pcre2_set_match_limit(matcher->context, MATCH_LIMIT);
	pcre2_set_depth_limit(matcher->context, MATCH_LIMIT);
	pcre2_set_heap_limit(matcher->context, HEAP_LIMIT);
	/* Null where PCRE2 was built without JIT: then none is needed. */
	matcher->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_LIMIT, NULL);
	if (matcher->stack)
		pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
	return matcher;
}

static pcre2_code *compile(const char *pattern, int *error, size_t *offset)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;

	if (!context) {
		*error = PCRE2_ERROR_NOMEMORY;
		*offset = 0;
		return NULL;
	}
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	code = pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), PCRE2_NEVER_UTF, error, offset,
			     context);
	pcre2_compile_context_free(context);
	return code;
}

static napi_value regex_compile(struct call *call)
{
	struct handle content = { .kind = HANDLE_REGEX };
	struct regex *regex;
	PCRE2_UCHAR text[256];
	napi_value result;
	char *pattern;
	size_t offset;
	int error;

	if (!argument_string(call, 0, &pattern))
		return NULL;
	regex = calloc(1, sizeof(*regex));
	if (!regex) {
		free(pattern);
		return fail(call, ENOMEM, NULL);
	}
	regex->code = compile(pattern, &error, &offset);
	if (!regex->code) {
		pcre2_get_error_message(error, text, sizeof(text));
		fail_text(call, EINVAL, pattern, "%s at offset %zu", (const char *)text, offset);
		free(pattern);
		free(regex);
		return NULL;
	}
	/* Where there is no JIT, or not for this pattern, it is interpreted. */
	pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
	content.regex = regex;
	result = handle_create(call, &content, pattern);
	if (!result)
		regex_free(regex);
	free(pattern);
	return result;
}

static bool is_limit(int status)
{
	return status == PCRE2_ERROR_MATCHLIMIT || status == PCRE2_ERROR_DEPTHLIMIT ||
	       status == PCRE2_ERROR_HEAPLIMIT || status == PCRE2_ERROR_JIT_STACKLIMIT;
}

static int match(struct regex *regex, struct regex_matcher *matcher, struct bytes subject)
{
	PCRE2_SPTR data = subject.length ? subject.data : (PCRE2_SPTR) "";
	int status = pcre2_match(regex->code, data, subject.length, 0, 0, matcher->data,
				 matcher->context);

	/* A long subject can need more stack than JIT has; the interpreter
	 * takes it from the heap. */
	if (status == PCRE2_ERROR_JIT_STACKLIMIT)
		status = pcre2_match(regex->code, data, subject.length, 0, PCRE2_NO_JIT,
				     matcher->data, matcher->context);
	return status;
}

static napi_value regex_test(struct call *call)
{
	struct instance *instance = call->instance;
	PCRE2_UCHAR text[256];
	struct handle *handle;
	struct bytes subject;
	int status;

	if (!argument_handle(call, 0, HANDLE_REGEX, &handle) || !argument_bytes(call, 1, &subject))
		return NULL;
	if (!instance->matcher)
		instance->matcher = regex_matcher_create();
	if (!instance->matcher)
		return fail(call, ENOMEM, handle->label);
	status = match(handle->regex, instance->matcher, subject);
	if (status >= 0)
		return result_bool(call, true);
	if (status == PCRE2_ERROR_NOMATCH)
		return result_bool(call, false);
	pcre2_get_error_message(status, text, sizeof(text));
	return fail_text(call, is_limit(status) ? ELOOP : EINVAL, handle->label, "%s",
			 (const char *)text);
}

const struct binding regex_bindings[] = {
	{ "regexCompile", regex_compile },
	{ "regexTest", regex_test },
	{ NULL, NULL },
};
