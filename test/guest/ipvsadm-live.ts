/** Lists of a table with traffic, by Debian's ipvsadm and by ours, of the same moment; and ours as a program. */
import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Native } from "../../src/native.ts";
import type { StepResult } from "./ipvsadm-situations.ts";

export interface Compared {
  readonly name: string;
  readonly real: StepResult;
  readonly ours: StepResult;
}

type RunOurs = (words: readonly string[]) => Promise<StepResult>;

const main = join(import.meta.dirname, "..", "..", "src", "cli", "main.js");
const attempts = 40;
const deadlineMs = 20_000;

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_MARK = 36;

const addresses = ["10.0.0.1/32", "10.0.0.9/32", "10.1.0.1/32", "10.1.0.2/32", "fd00::1/128", "fd00:1::1/128"];

const rules = [
  "-A -t 10.0.0.1:80 -s rr -p 300",
  "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m",
  "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 3",
  "-A -u 10.0.0.1:53 -s wlc",
  "-a -u 10.0.0.1:53 -r 10.1.0.1:5353 -m",
  "-A -t [fd00::1]:80 -s wlc",
  "-a -t [fd00::1]:80 -r [fd00:1::1]:8080 -m",
  "-A -f 7 -s rr -p 60 -M 255.255.255.0",
  "-a -f 7 -r 10.1.0.1:0 -m",
  "-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip",
  "-a -u 10.0.0.1:5060 -r 10.1.0.1:5060 -m",
];

const lists = [
  "-L",
  "-L -n --stats",
  "-L --stats --exact",
  "-L -n --rate",
  "-L -n --persistent-conn",
  "-L -n --thresholds",
  "-L --nosort --rate",
  "-S --nosort",
  "-L -c",
  "-L -n -c --persistent-conn",
];

/** What starts a process each time, and what only a process can show. */
const asPrograms: readonly (readonly [words: string, input?: string])[] = [
  [""],
  ["-D -t 10.0.0.9:80"],
  ["--nosuch"],
  ["-R", "-Z\n-L -n -t 10.0.0.1:80\n-Z -t 10.9.9.9:9\n"],
];

/** In the present network namespace, which must have an empty table. */
export async function playLive(native: Native, runOurs: RunOurs): Promise<Compared[]> {
  for (const address of addresses)
    ip("address", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : []));
  for (const rule of rules) real(rule.split(" "));
  const traffic = await startTraffic(native);
  try {
    const compared: Compared[] = [];
    for (const list of lists) compared.push(await compare(list, list.split(" "), runOurs));
    for (const [words, input] of asPrograms) compared.push(compareProgram(words.split(" ").filter(Boolean), input));
    compared.push(compareUnprivileged());
    return compared;
  } finally {
    traffic.stop();
    real(["-C"]);
  }
}

function ip(...words: string[]): void {
  execFileSync("ip", words, { stdio: "pipe" });
}

function real(words: readonly string[], input = "", prefix: readonly string[] = []): StepResult {
  return spawn([...prefix, "ipvsadm", ...words], input);
}

function spawn([file, ...words]: readonly string[], input: string): StepResult {
  const env = { ...process.env, XLB_PLANE: "ipvs" };
  const { status, stdout, stderr } = spawnSync(file!, words, { input, encoding: "utf8", env });
  return { status: status ?? -1, stdout, stderr };
}

/**
 * The real one is asked before and after: when both agree nothing has moved, and ours must say the same. That the time of
 * connections runs does not count as moving.
 */
async function compare(name: string, words: readonly string[], runOurs: RunOurs): Promise<Compared> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const before = real(words);
    const ours = await runOurs(words);
    const after = real(words).stdout;
    const stdout = meanwhile(before.stdout, ours.stdout, after);
    if (meanwhile(before.stdout, after, after) === before.stdout)
      return { name, real: before, ours: { ...ours, stdout } };
  }
  throw new Error(`ipvsadm ${name} is never the same twice`);
}

/** The text, where what is left of a connection's time lies between two others' in the same line with the first of these. */
function meanwhile(before: string, text: string, after: string): string {
  const [earlier, later] = [before.split("\n"), after.split("\n")];
  return text
    .split("\n")
    .map((line, index) => {
      const [first, mine, last] = [earlier[index] ?? "", line, later[index] ?? ""].map(splitTime);
      const same = first?.rest === mine?.rest && mine?.rest === last?.rest;
      return same && first!.seconds >= mine!.seconds && mine!.seconds >= last!.seconds ? earlier[index]! : line;
    })
    .join("\n");
}

/** `TCP 14:59  ESTABLISHED ...`; NaN seconds of other lines. */
function splitTime(line: string): { readonly seconds: number; readonly rest: string } {
  const [, protocol, minutes, seconds, rest] = /^([A-Z]+ +)(\d\d):(\d\d)( .*)$/.exec(line) ?? [];
  if (protocol === undefined) return { seconds: NaN, rest: line };
  return { seconds: 60 * Number(minutes) + Number(seconds), rest: `${protocol}${rest}` };
}

function compareProgram(words: readonly string[], input = ""): Compared {
  const name = `as a program: ${words.join(" ")}`;
  return { name, real: real(words, input), ours: spawn([process.execPath, main, "ipvsadm", ...words], input) };
}

/** Who is not root gets no table, whatever is asked. */
function compareUnprivileged(): Compared {
  const prefix = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps", "-all"];
  const ours = spawn([...prefix, process.execPath, main, "ipvsadm", "-L", "-n"], "");
  return { name: "without privileges", real: real(["-L", "-n"], "", prefix), ours };
}

// --- traffic

async function startTraffic(native: Native): Promise<{ stop(): void }> {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  for (const host of ["10.1.0.1", "10.1.0.2", "fd00:1::1"]) {
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.pipe(socket);
    });
    servers.push(server);
    server.listen(8080, host);
    await once(server, "listening");
  }
  for (const host of ["10.0.0.1", "fd00::1", "10.0.0.1"]) {
    const client = connect({ host, port: 80 });
    sockets.push(client);
    await once(client, "connect");
    client.write(Buffer.alloc(3000));
    await once(client, "data");
  }
  const closing = connect({ host: "10.0.0.1", port: 80 });
  await once(closing, "connect");
  closing.end();
  await once(closing.resume(), "close");

  const receivers = [5353, 5060, 9].map((port) => createSocket("udp4").bind(port, "10.1.0.1"));
  const sender = createSocket("udp4").bind(4000, "10.1.0.2");
  await Promise.all([...receivers, sender].map((socket) => once(socket, "listening")));
  for (let count = 0; count < 20; count++) sender.send(Buffer.alloc(100), 53, "10.0.0.1");
  const call =
    "OPTIONS sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.2:4000\r\nCall-ID: call-1@example.org\r\n\r\n";
  sender.send(call, 5060, "10.0.0.1");
  sendMarked(native, 7, [10, 0, 0, 9], 9);
  await untilConnections(["sip call-1@example.org", "IP  ", "UDP", "TCP", "fd00:"]);
  return {
    stop() {
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
      for (const socket of [...receivers, sender]) socket.close();
    },
  };
}

/** A datagram with a firewall mark, without rules that give it one. */
function sendMarked(native: Native, mark: number, address: readonly number[], port: number): void {
  const fd = native.socketOpen(AF_INET, SOCK_DGRAM, 0);
  try {
    native.socketOption(fd, SOL_SOCKET, SO_MARK, mark);
    native.socketSend(
      fd,
      Buffer.from("marked"),
      Buffer.from([AF_INET, 0, port >> 8, port & 0xff, ...address, ...Buffer.alloc(8)]),
    );
  } finally {
    native.socketClose(fd);
  }
}

async function untilConnections(wanted: readonly string[]): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const table = readFileSync("/proc/net/ip_vs_conn", "latin1");
    const missing = wanted.filter((part) => !table.toLowerCase().includes(part.toLowerCase()));
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`no connection with ${missing.join(", ")} in\n${table}`);
    await sleep(20);
  }
}
