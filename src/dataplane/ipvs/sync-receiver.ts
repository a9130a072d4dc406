/**
 * The way of connections into the kernel's table: its backup synchronisation daemon takes what a director sends by
 * multicast, so it is made to listen on the loopback interface for a while, and told.
 */
import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { parseAddress } from "../netlink/address.ts";
import type { IpvsClient } from "./client.ts";
import { daemonState } from "./messages.ts";
import type { IpvsDaemonSettings } from "./messages.ts";
import { syncDefaults } from "./sync-messages.ts";

/** Of this namespace: while it is 1 and a backup daemon runs, the kernel directs nothing. */
const backupOnlyPath = "/proc/sys/net/ipv4/vs/backup_only";

const loopback: IpvsDaemonSettings = { state: daemonState.backup, interfaceName: "lo", syncId: 88 };

/** Bytes on their way at once: a fraction of a socket's usual buffer, of which each datagram takes more than its bytes. */
const windowBytes = 32_000;
/** The kernel takes what lies in its socket within milliseconds. */
const patienceMs = 10_000;
const tries = 5;

/** Where messages go. */
export interface SyncReceiver {
  readonly syncId: number;
  /** Of a message, bytes. */
  readonly maxLength: number;
  /** Resolves when the kernel has taken them all. Rejects if it does not. */
  send(messages: readonly Buffer[]): Promise<void>;
}

/**
 * Runs `work` with a backup daemon that listens: the one that runs already, or one on the loopback interface that ends
 * with it. What is sent leaves the machine in neither case. Throws if the kernel starts none.
 */
export async function withSyncReceiver<T>(
  client: Pick<IpvsClient, "daemons" | "newDaemon" | "deleteDaemon">,
  work: (receiver: SyncReceiver) => Promise<T>,
): Promise<T> {
  const present = client.daemons().find(({ state }) => state === daemonState.backup);
  const restore = present === undefined ? directMeanwhile() : () => {};
  const settings = present ?? loopback;
  if (present === undefined) client.newDaemon(loopback);
  const { group = syncDefaults.group, port = syncDefaults.port, maxLength = syncDefaults.maxLength } = settings;
  try {
    const socket = await openSender(settings.interfaceName, group);
    try {
      return await work({
        syncId: settings.syncId,
        maxLength: Math.min(maxLength, syncDefaults.maxLength),
        send: (messages) => sendAll(socket, messages, group, port),
      });
    } finally {
      socket.close();
    }
  } finally {
    // It ends when it has worked off what it was sent.
    if (present === undefined) client.deleteDaemon(loopback);
    restore();
  }
}

/** Returns how to put it back. */
function directMeanwhile(): () => void {
  if (!existsSync(backupOnlyPath)) return () => {};
  const before = readFileSync(backupOnlyPath, "utf8").trim();
  if (before === "0") return () => {};
  writeFileSync(backupOnlyPath, "0");
  return () => writeFileSync(backupOnlyPath, before);
}

/** What it sends to the group comes back by the interface, and goes no further. */
async function openSender(interfaceName: string, group: string): Promise<Socket> {
  const ipv6 = group.includes(":");
  const socket = createSocket(ipv6 ? "udp6" : "udp4");
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ address: ipv6 ? "::" : "0.0.0.0", port: 0 }, () => resolve());
    });
    const own = networkInterfaces()[interfaceName]?.find(({ family }) => family === "IPv4")?.address;
    if (!ipv6 && own === undefined) throw new Error(`interface ${interfaceName} has no IPv4 address, or is down`);
    socket.setMulticastInterface(ipv6 ? `::%${interfaceName}` : (own ?? ""));
    socket.setMulticastTTL(0);
    socket.setMulticastLoopback(true);
    return socket;
  } catch (cause) {
    socket.close();
    throw new Error(`cannot send to the kernel's backup daemon: ${(cause as Error).message}`, { cause });
  }
}

async function sendAll(socket: Socket, messages: readonly Buffer[], group: string, port: number): Promise<void> {
  let window: Buffer[] = [];
  let bytes = 0;
  for (const message of messages) {
    if (bytes + message.length > windowBytes && window.length > 0) {
      await sendWindow(socket, window, group, port);
      window = [];
      bytes = 0;
    }
    window.push(message);
    bytes += message.length;
  }
  if (window.length > 0) await sendWindow(socket, window, group, port);
}

/** As a message may be sent twice, all of a window are sent anew if one was dropped. */
async function sendWindow(socket: Socket, window: readonly Buffer[], group: string, port: number): Promise<void> {
  for (let attempt = 1; attempt <= tries; attempt++) {
    const before = queueOf(group, port);
    if (before === undefined) throw new Error("the kernel's backup daemon does not listen");
    await Promise.all(window.map((message) => sendOne(socket, message, group, port)));
    const { dropped } = await emptied(group, port);
    if (dropped === before.dropped) return;
  }
  throw new Error(`the kernel's backup daemon dropped messages ${tries} times`);
}

function sendOne(socket: Socket, message: Buffer, group: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(message, port, group, (error) => (error === null ? resolve() : reject(error)));
  });
}

async function emptied(group: string, port: number): Promise<Queue> {
  for (const deadline = performance.now() + patienceMs; ; await nextTurn()) {
    const queue = queueOf(group, port);
    if (queue?.bytes === 0) return queue;
    if (performance.now() > deadline) throw new Error("the kernel's backup daemon does not take what it is sent");
  }
}

interface Queue {
  readonly bytes: number;
  readonly dropped: number;
}

/** Of the socket that is bound to the group: /proc/net/udp has the kernel's own, too. Undefined: there is none. */
function queueOf(group: string, port: number): Queue | undefined {
  const text = readFileSync(group.includes(":") ? "/proc/net/udp6" : "/proc/net/udp", "latin1");
  return parseQueue(text, group, port);
}

/** Of the text of /proc/net/udp or udp6, whose addresses are 32-bit words in the machine's own byte order. */
export function parseQueue(text: string, group: string, port: number): Queue | undefined {
  const bytes = Buffer.from(parseAddress(group)?.bytes ?? []);
  const local = `${bytes.swap32().toString("hex")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
  const fields = text
    .split("\n")
    .map((line) => line.trim().split(/ +/))
    .find((line) => line[1] === local);
  const received = fields?.[4]?.split(":")[1];
  if (fields === undefined || received === undefined) return undefined;
  return { bytes: Number.parseInt(received, 16), dropped: Number(fields.at(-1)) };
}
