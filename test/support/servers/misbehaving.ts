/** Servers that do what no real one does when asked to, and the tests that every kind of check has to pass with them. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { rmSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { startAttempt } from "../../../src/health/attempt.ts";
import { prepareCheck } from "../../../src/health/checks.ts";
import type { CheckSpec } from "../../../src/model/config.ts";
import { attemptOnce, eventually, freePort, surroundings } from "../../health/fixtures.ts";
import { Stopwatch } from "../starvation.ts";
import { missingPrograms, selfSigned, serverDirectory } from "./daemon.ts";

/** A server, and how many connections it has open. */
interface OddServer {
  readonly port: number;
  readonly open: () => number;
  readonly close: () => Promise<void>;
}

interface Misbehaviour {
  readonly name: string;
  /** Whether a check can find out only at its deadline. */
  readonly lasts?: true;
  /** Whether it makes no sense within a TLS session. */
  readonly plainOnly?: true;
  readonly act: (socket: Socket) => void;
}

/** Bytes that are no protocol's, the same each time, with line ends among them. */
const garbage = Buffer.from(Array.from({ length: 600 }, (_, index) => (index * 167 + (index >> 3)) & 0xff));

const misbehaviours: readonly Misbehaviour[] = [
  { name: "never answers", lasts: true, act: (socket) => socket.resume() },
  {
    name: "sends garbage",
    act: (socket) => {
      socket.write(garbage);
      socket.on("data", () => socket.write(garbage));
    },
  },
  { name: "sends a line without end", act: (socket) => flood(socket, Buffer.alloc(16 << 10, "x")) },
  { name: "sends lines without end", act: (socket) => flood(socket, Buffer.from("550-x\r\n".repeat(2000))) },
  { name: "sends zeros without end", act: (socket) => flood(socket, Buffer.alloc(16 << 10)) },
  {
    name: "dribbles, a byte at a time",
    act: (socket) => {
      const bytes = Buffer.from("220 welcome to the server of slow answers, which never come to an end\r\n".repeat(9));
      let next = 0;
      const timer = setInterval(() => socket.write(bytes.subarray(next, ++next)), 40);
      socket.on("close", () => clearInterval(timer)).resume();
    },
  },
  { name: "closes at once", act: (socket) => socket.end() },
  { name: "resets at once", plainOnly: true, act: (socket) => socket.resetAndDestroy() },
  { name: "closes when it is asked", act: (socket) => socket.once("data", () => socket.end()) },
  { name: "closes in the middle of an answer", act: (socket) => socket.end("2") },
  { name: "speaks another protocol", act: (socket) => socket.end("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n") },
  {
    name: "refuses in the language of another protocol",
    act: (socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
  },
];

/** Sends as fast as it is read, until the other side closes. */
function flood(socket: Socket, chunk: Buffer): void {
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on("drain", more).resume();
  more();
}

export interface BatteryOptions {
  /** Whether the check closes its sending side before it is answered, so that its closing cannot be seen. */
  readonly halfCloses?: boolean;
  /** Absent: tcp. */
  readonly transport?: "tcp" | "udp";
  /** Whether the check is over TLS: then everything is tried instead of a session, and in one. */
  readonly tls?: boolean;
  /** The check's deadline for what only that ends, milliseconds. Absent: 400. */
  readonly deadlineMs?: number;
}

/** How long after its deadline a check may end, less what a busy machine takes from it, milliseconds. */
const slackMs = 5000;

const uncaught: Error[] = [];
process.on("uncaughtExceptionMonitor", (error) => uncaught.push(error));

/**
 * Tests that a check is down, ends in time and leaves nothing behind, whatever the server does. `specOn` makes the check
 * of a server on a port of 127.0.0.1.
 */
export function testMisbehaviour(
  kind: string,
  specOn: (port: number) => CheckSpec,
  { transport = "tcp", tls = false, halfCloses = false, deadlineMs = 400 }: BatteryOptions = {},
): void {
  const withDeadline = (port: number): CheckSpec => ({
    ...specOn(port),
    checkTimeoutMs: deadlineMs,
    negotiateTimeoutMs: deadlineMs,
  });

  async function testServer(server: OddServer, lasts: boolean): Promise<void> {
    try {
      const watch = new Stopwatch();
      const { up, detail, durationMs } = await attemptOnce(withDeadline(server.port));
      assert.equal(up, false, detail);
      assert.match(detail, /^[^\r\n]{1,400}$/);
      assert.ok(durationMs - watch.starvedMs() < deadlineMs + slackMs, `${durationMs} ms: ${detail}`);
      if (lasts) assert.ok(durationMs > deadlineMs * 0.9, `${durationMs} ms: ${detail}`);
      if (!halfCloses) await eventually("the connections are closed", () => server.open() === 0);
    } finally {
      await server.close();
    }
  }

  describe(`a check of ${kind}, and a server that`, () => {
    test("is not there", async () => {
      const watch = new Stopwatch();
      const { up, detail, durationMs } = await attemptOnce(withDeadline(await freePort()));
      assert.equal(up, false, detail);
      assert.ok(durationMs - watch.starvedMs() < deadlineMs + slackMs, `${durationMs} ms`);
    });

    const acts = transport === "tcp" ? misbehaviours : [];
    for (const { name, act, lasts = false } of acts) {
      test(
        tls ? `${name}, instead of TLS` : name,
        async () => await testServer(await serveTcp(act, undefined, halfCloses), lasts),
      );
    }
    if (tls) {
      describe("once it has made a TLS session", { skip: missingPrograms("/usr/bin/openssl") }, () => {
        const directory = serverDirectory("misbehaving");
        let session: { cert: Buffer; key: Buffer };
        before(() => {
          const { certificate, key } = selfSigned(directory);
          session = { cert: readFileSync(certificate), key: readFileSync(key) };
        });
        after(() => rmSync(directory, { recursive: true }));
        for (const { name, act, lasts = false, plainOnly = false } of acts) {
          if (plainOnly) continue;
          test(name, async () => await testServer(await serveTcp(act, session), lasts));
        }
      });
    }
    if (transport === "udp") {
      for (const { name, answer, lasts = false } of datagramMisbehaviours) {
        test(name, async () => await testServer(await serveUdp(answer), lasts));
      }
    }

    test("is given up ends at once, and its connection is closed", async () => {
      const server = transport === "tcp" ? await serveTcp((socket) => socket.resume()) : await serveUdp(() => []);
      try {
        const patient = { ...specOn(server.port), checkTimeoutMs: 60_000, negotiateTimeoutMs: 60_000 };
        const attempt = startAttempt(prepareCheck(patient, surroundings));
        if (transport === "tcp" && !halfCloses) await eventually("the server is asked", () => server.open() > 0);
        const watch = new Stopwatch();
        attempt.cancel();
        assert.equal((await attempt.result).up, false);
        assert.ok(watch.netMs() < 900, `${watch.netMs()} ms`);
        await eventually("the connections are closed", () => server.open() === 0);
      } finally {
        await server.close();
      }
    });

    test("is bad a hundred times leaves nothing behind", async () => {
      const refused = await freePort();
      const before = resources();
      const servers =
        transport === "tcp"
          ? await Promise.all(misbehaviours.filter(({ lasts }) => lasts === undefined).map(({ act }) => serveTcp(act)))
          : await Promise.all(datagramMisbehaviours.map(({ answer }) => serveUdp(answer)));
      try {
        const checks = [refused, ...servers.map(({ port }) => port)].map((port) =>
          prepareCheck({ ...withDeadline(port), checkTimeoutMs: 100, negotiateTimeoutMs: 100 }, surroundings),
        );
        for (let tries = 0; tries < 100; tries += checks.length) {
          const results = await Promise.all(checks.map((check) => startAttempt(check).result));
          for (const { up, detail } of results) assert.equal(up, false, detail);
        }
        await eventually("the connections are closed", () => servers.every(({ open }) => open() === 0));
      } finally {
        await Promise.all(servers.map(({ close }) => close()));
      }
      await eventually("nothing is left behind", () => grown(before).length === 0).catch(() => undefined);
      assert.deepEqual(grown(before), []);
      assert.deepEqual(uncaught, []);
    });
  });
}

/** What keeps the process alive, counted by kind; the time-outs are the test runner's, too. */
function resources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind !== "Timeout" && kind !== "Immediate") counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** Of which kinds there are more than before. */
function grown(before: ReadonlyMap<string, number>): string[] {
  return [...resources()].filter(([kind, count]) => count > (before.get(kind) ?? 0)).map(String);
}

interface DatagramMisbehaviour {
  readonly name: string;
  readonly lasts?: true;
  readonly answer: (question: Buffer) => readonly (Buffer | "elsewhere")[];
}

const datagramMisbehaviours: readonly DatagramMisbehaviour[] = [
  { name: "never answers", lasts: true, answer: () => [] },
  { name: "sends garbage", answer: () => [garbage, garbage.subarray(0, 12), garbage.subarray(100)] },
  { name: "sends an empty datagram", answer: () => [Buffer.alloc(0)] },
  { name: "sends the question back", answer: (question) => [question] },
  { name: "sends the beginning of the question back", answer: (question) => [question.subarray(0, 11)] },
  { name: "answers from another port", lasts: true, answer: () => ["elsewhere"] },
];

async function serveTcp(
  act: (socket: Socket) => void,
  session?: { cert: Buffer; key: Buffer },
  allowHalfOpen = false,
): Promise<OddServer> {
  const sockets = new Set<Socket>();
  const onConnection = (socket: Socket): void => {
    sockets.add(socket);
    // The client closes as it likes, in the middle of whatever is sent.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    act(socket);
    // Read, or the client's closing is never seen.
    socket.resume();
  };
  const server =
    session === undefined ? createServer({ allowHalfOpen }, onConnection) : createTlsServer(session, onConnection);
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 1024, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    open: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function serveUdp(answer: DatagramMisbehaviour["answer"]): Promise<OddServer> {
  const server = createSocket("udp4");
  const elsewhere = createSocket("udp4");
  // The client may have closed; that comes back by ICMP.
  server.on("error", () => undefined);
  elsewhere.on("error", () => undefined);
  server.on("message", (question, { address, port }) => {
    for (const datagram of answer(question)) {
      if (datagram === "elsewhere") elsewhere.send("elsewhere", port, address);
      else server.send(datagram, port, address);
    }
  });
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => elsewhere.bind(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    open: () => 0,
    close: async () => {
      await Promise.all([server, elsewhere].map((socket) => new Promise<void>((resolve) => socket.close(resolve))));
    },
  };
}

interface RelayPlan {
  readonly host: string;
  readonly port: number;
  /** How many bytes of the server come through. */
  readonly bytes: number;
  /** What happens then. */
  readonly then: "closes" | "stalls";
}

/** Stands before a real server and lets a part of what it says through. */
async function startRelay({ host, port, bytes, then }: RelayPlan): Promise<OddServer & { passed: () => number }> {
  let passed = 0;
  const relay = (client: Socket): void => {
    let left = bytes;
    const upstream = connect({ host, port });
    upstream.on("error", () => client.destroy());
    client.on("close", () => upstream.destroy());
    client.on("data", (chunk) => upstream.write(chunk)).on("end", () => upstream.end());
    upstream.on("data", (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.length;
      passed += part.length;
      client.write(part);
      if (left === 0 && then === "closes") client.end();
    });
    upstream.on("end", () => {
      if (then === "closes" || left > 0) client.end();
    });
  };
  // A client may end its side before it is answered.
  const server = await serveTcp(relay, undefined, true);
  return { ...server, passed: () => passed };
}

/**
 * Tests that a check which is up is not so when the real server closes or falls silent in the middle: after its first
 * byte it is down, and from where it is up on it stays up. `specOn` makes the check of a server on a port of 127.0.0.1;
 * `server` tells where the real one listens, once the test runs.
 */
export function testInterruption(
  kind: string,
  specOn: (port: number) => CheckSpec,
  server: () => { readonly host: string; readonly port: number },
): void {
  const attemptThrough = async (
    plan: Pick<RelayPlan, "bytes" | "then">,
    deadlineMs: number,
  ): Promise<{ up: boolean; detail: string; durationMs: number; starvedMs: number; passed: number }> => {
    const watch = new Stopwatch();
    const relay = await startRelay({ ...server(), ...plan });
    try {
      const timeouts = { checkTimeoutMs: deadlineMs, negotiateTimeoutMs: deadlineMs };
      const result = await attemptOnce({ ...specOn(relay.port), ...timeouts });
      return { ...result, starvedMs: watch.starvedMs(), passed: relay.passed() };
    } finally {
      await relay.close();
    }
  };

  test(`${kind} that breaks off in the middle is down, wherever that is`, async () => {
    const whole = await attemptThrough({ bytes: Infinity, then: "closes" }, 20_000);
    assert.equal(whole.up, true, whole.detail);
    const points = [1, ...[1, 2, 3].map((quarter) => Math.ceil((whole.passed * quarter) / 4))];
    let upSince: number | undefined;
    for (const bytes of points) {
      const { up, detail } = await attemptThrough({ bytes, then: "closes" }, 20_000);
      if (up) upSince ??= bytes;
      assert.equal(up, upSince !== undefined, `${bytes} of ${whole.passed} bytes, up since ${upSince}: ${detail}`);
    }
    assert.notEqual(upSince, 1);
    for (const bytes of points.filter((point) => upSince === undefined || point < upSince)) {
      const { up, detail, durationMs, starvedMs } = await attemptThrough({ bytes, then: "stalls" }, 300);
      assert.equal(up, false, `${bytes} of ${whole.passed} bytes: ${detail}`);
      assert.ok(durationMs > 270 && durationMs - starvedMs < 300 + slackMs, `${durationMs} ms: ${detail}`);
    }
  });
}
