/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF filesystem: whether a path lies in one, mounting one and unmounting it. */
#include "napi.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/vfs.h>

static napi_value filesystem_type(struct call *call)
{
	struct statfs information;
	char path[PATH_MAX];
	int error;

	if (!argument_path(call, 0, path))
		return NULL;
	do
		error = statfs(path, &information);
	while (error && errno == EINTR);
	if (error)
		return fail(call, errno, path);
	return result_u32(call, (uint32_t)information.f_type);
}

static napi_value bpffs_mount(struct call *call)
{
	char path[PATH_MAX];

	if (!argument_path(call, 0, path))
		return NULL;
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return fail(call, errno, path);
	return result_undefined(call);
}

static napi_value bpffs_unmount(struct call *call)
{
	char path[PATH_MAX];

	if (!argument_path(call, 0, path))
		return NULL;
	if (umount2(path, UMOUNT_NOFOLLOW))
		return fail(call, errno, path);
	return result_undefined(call);
}

const struct binding filesystem_bindings[] = {
	{ "filesystemType", filesystem_type },
	{ "bpffsMount", bpffs_mount },
	{ "bpffsUnmount", bpffs_unmount },
	{ NULL, NULL },
};
