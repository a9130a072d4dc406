/** What ipvsadm says when the kernel refuses, by what was asked and the errno's name. */

export type TableRequest =
  | "open"
  | "addService"
  | "editService"
  | "deleteService"
  | "zero"
  | "clear"
  | "addServer"
  | "editServer"
  | "deleteServer"
  | "setTimeouts"
  | "startDaemon"
  | "stopDaemon"
  | "list";

const noService = "No such service";
const notDefined = "Service not defined";
const noServer = "No such destination";
const noModule = "Scheduler or persistence engine not found";

const ofRequest: Partial<Record<TableRequest, Readonly<Record<string, string>>>> = {
  addService: { EEXIST: "Service already exists", ENOENT: noModule },
  editService: { ESRCH: noService, ENOENT: noModule },
  deleteService: { ESRCH: noService },
  zero: { ESRCH: noService },
  addServer: { ESRCH: notDefined, EEXIST: "Destination already exists" },
  editServer: { ESRCH: notDefined, ENOENT: noServer },
  deleteServer: { ESRCH: notDefined, ENOENT: noServer },
  startDaemon: { EEXIST: "Daemon has already run" },
  stopDaemon: { ESRCH: "No daemon is running" },
  list: { ESRCH: noService },
};

const ofAny: Readonly<Record<string, string>> = {
  EPERM: "Permission denied (you must be root)",
  EINVAL: "Invalid operation.  Possibly wrong module version, address not unicast, ...",
  ENOPROTOOPT: "Protocol not available",
  ENOMEM: "Memory allocation problem",
  EOPNOTSUPP: "Operation not supported with IPv6",
  EAFNOSUPPORT: "Operation not supported with specified address family",
  EMSGSIZE: "Module is wrong version",
};

/** strerror(3) of glibc, for what else the kernel's IPVS or another plane may answer. */
const ofSystem: Readonly<Record<string, string>> = {
  ENOENT: "No such file or directory",
  ESRCH: "No such process",
  EINTR: "Interrupted system call",
  EIO: "Input/output error",
  E2BIG: "Argument list too long",
  EAGAIN: "Resource temporarily unavailable",
  EACCES: "Permission denied",
  EFAULT: "Bad address",
  EBUSY: "Device or resource busy",
  EEXIST: "File exists",
  ENODEV: "No such device",
  ENOSPC: "No space left on device",
  ERANGE: "Numerical result out of range",
  ENAMETOOLONG: "File name too long",
  ENOBUFS: "No buffer space available",
  EADDRINUSE: "Address already in use",
  EADDRNOTAVAIL: "Cannot assign requested address",
  ENETDOWN: "Network is down",
  ENETUNREACH: "Network is unreachable",
  ETIMEDOUT: "Connection timed out",
  ECONNREFUSED: "Connection refused",
  EALREADY: "Operation already in progress",
  ENOTSUP: "Operation not supported",
};

export function messageOfRefusal(request: TableRequest, code: string): string {
  return ofRequest[request]?.[code] ?? ofAny[code] ?? ofSystem[code] ?? `Unknown error (${code})`;
}
