/** systemd's readiness protocol, sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. */
import type { Native } from "../native.ts";
import { sendUnixDatagram } from "./unix-datagram.ts";

/** `READY=1`, `STOPPING=1`. Nothing happens where no supervisor has asked for it. */
export function notifySupervisor(
  native: Pick<Native, "socketOpen" | "socketSend" | "socketClose">,
  state: string,
): void {
  const path = process.env["NOTIFY_SOCKET"];
  if (path === undefined || path === "") return;
  try {
    sendUnixDatagram(native, path, Buffer.from(state));
  } catch {
    // A supervisor that went away is not told.
  }
}
