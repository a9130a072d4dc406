import type { Native } from "../native.ts";

/** Of the kernel's socket interface. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;

/** Sends one datagram to a unix socket, at a path or (`@name`) in the abstract namespace. Throws what the kernel refuses. */
export function sendUnixDatagram(
  native: Pick<Native, "socketOpen" | "socketSend" | "socketClose">,
  path: string,
  message: Uint8Array,
): void {
  const fd = native.socketOpen(AF_UNIX, SOCK_DGRAM, 0);
  try {
    native.socketSend(fd, message, unixAddress(path));
  } finally {
    native.socketClose(fd);
  }
}

/** `struct sockaddr_un`: the family in the machine's byte order, then the path; an abstract name begins with a zero byte. */
function unixAddress(path: string): Buffer {
  const family = Buffer.from(Uint16Array.of(AF_UNIX).buffer);
  return Buffer.concat([family, Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`)]);
}
