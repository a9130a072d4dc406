/**
 * Many TCP connections that carry data both ways for a while, every byte of it checked. Run as a process in a namespace:
 *
 *     transfers.js serve PORT
 *     transfers.js run TARGET PORT CONNECTIONS SECONDS FROM...
 *
 * The server sends back what it receives. The client opens the connections from the given addresses in turn, sends a block
 * on each five times a second (or every INTERVAL_MS milliseconds of the environment), and at the end prints one line of JSON, {@link TransferReport}. It prints `open N` when all
 * connections are open, `whole BYTES` whenever all that it has sent is back, and `lost REASON` when a connection ends before its
 * time. It sends a block on each at once when it gets SIGHUP, and ends early, cleanly, when it gets SIGUSR2.
 */
import { createConnection, createServer } from "node:net";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export interface TransferReport {
  readonly connections: number;
  /** Connections that ended before their time, and why the first of them did. */
  readonly lost: number;
  readonly firstLoss: string;
  /** Connections on which a byte came back that was not sent, and those on which some are missing at the end. */
  readonly wrong: number;
  readonly incomplete: number;
  readonly bytes: number;
}

const blockSize = 512;
const intervalMs = Number(process.env["INTERVAL_MS"] ?? 200);

/** The byte at a position of a connection's stream. */
function fill(block: Buffer, seed: number, position: number): void {
  for (let i = 0; i < block.length; i++) {
    const at = position + i;
    block[i] = (Math.imul(at + 1, 2654435761) ^ Math.imul(seed + 1, 40503) ^ (at >>> 8)) & 0xff;
  }
}

function serve(port: number): void {
  createServer((socket) => {
    socket.setNoDelay();
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  }).listen({ port, host: "::", backlog: 4096 });
}

/** Of all connections, bytes. */
const total = { sent: 0, received: 0 };

class Transfer {
  readonly seed: number;
  readonly socket: Socket;
  readonly opened: Promise<void>;
  sent = 0;
  received = 0;
  loss = "";
  wrong = false;
  finished = false;

  constructor(seed: number, target: string, port: number, from: string) {
    this.seed = seed;
    this.socket = createConnection({ host: target, port, localAddress: from });
    this.socket.setNoDelay();
    this.opened = new Promise((resolve) => {
      this.socket.once("connect", resolve);
      this.socket.once("close", resolve);
    });
    this.socket.on("error", (error: NodeJS.ErrnoException) => {
      // Whether it is reading or writing that meets a reset first is chance.
      this.#lose(error.code ?? error.message);
    });
    this.socket.on("close", () => {
      if (!this.finished) this.#lose("closed");
    });
    this.socket.on("data", (data) => {
      const expected = Buffer.alloc(data.length);
      fill(expected, seed, this.received);
      if (!expected.equals(data)) this.wrong = true;
      this.received += data.length;
      total.received += data.length;
      if (total.received === total.sent) process.stdout.write(`whole ${total.received}\n`);
    });
  }

  #lose(reason: string): void {
    if (this.loss !== "") return;
    this.loss = reason;
    process.stdout.write(`lost ${reason}\n`);
  }

  send(): void {
    if (this.loss !== "") return;
    const block = Buffer.alloc(blockSize);
    fill(block, this.seed, this.sent);
    this.sent += block.length;
    total.sent += block.length;
    this.socket.write(block);
  }
}

async function run(
  target: string,
  port: number,
  count: number,
  seconds: number,
  from: readonly string[],
): Promise<void> {
  const stopping = new AbortController();
  process.once("SIGUSR2", () => stopping.abort());
  const transfers: Transfer[] = [];
  process.on("SIGHUP", () => {
    for (const transfer of transfers) transfer.send();
  });
  for (let i = 0; i < count; i++) {
    transfers.push(new Transfer(i, target, port, from[i % from.length] ?? ""));
    if (i % 50 === 49) await Promise.all(transfers.map((transfer) => transfer.opened));
  }
  await Promise.all(transfers.map((transfer) => transfer.opened));
  process.stdout.write(`open ${transfers.filter((transfer) => transfer.loss === "").length}\n`);
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end && !stopping.signal.aborted) {
    for (const transfer of transfers) transfer.send();
    await delay(intervalMs, undefined, { signal: stopping.signal }).catch(() => {}); // Ended early: it is to stop.
  }
  // What is on its way still has to come back.
  const last = Date.now() + 60_000;
  const whole = (transfer: Transfer): boolean => transfer.loss !== "" || transfer.received >= transfer.sent;
  while (Date.now() < last && !transfers.every(whole)) await delay(50);
  for (const transfer of transfers) {
    transfer.finished = true;
    transfer.socket.destroy();
  }
  const report: TransferReport = {
    connections: transfers.length,
    lost: transfers.filter((transfer) => transfer.loss !== "").length,
    firstLoss: transfers.find((transfer) => transfer.loss !== "")?.loss ?? "",
    wrong: transfers.filter((transfer) => transfer.wrong).length,
    incomplete: transfers.filter((transfer) => transfer.loss === "" && transfer.received !== transfer.sent).length,
    bytes: transfers.reduce((sum, transfer) => sum + transfer.received, 0),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "serve") {
  serve(Number(rest[0]));
} else if (mode === "run") {
  const [target = "", port, count, seconds, ...from] = rest;
  await run(target, Number(port), Number(count), Number(seconds), from);
}
