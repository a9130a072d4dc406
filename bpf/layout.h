/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Types of director.h that no map holds. clang writes into BTF only what a
 * map or a variable refers to, and the layout for user space is made from it
 * (scripts/generate-layout.ts); nothing reads this word.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "director.h"

const volatile union {
	enum connection_state connection_state;
	enum scheduler scheduler;
	enum scheduler_flag scheduler_flag;
	enum forwarding_method forwarding_method;
	enum tunnel_type tunnel_type;
	enum tunnel_checksum tunnel_checksum;
	enum address_family address_family;
	enum service_slot_kind service_slot_kind;
	enum service_flag service_flag;
	enum real_server_flag real_server_flag;
	enum control_operation control_operation;
	struct control_request control_request;
	struct fragment_record fragment_record;
	enum import_flag import_flag;
	enum import_result import_result;
	struct connection_import connection_import;
} layout_types;

#endif
