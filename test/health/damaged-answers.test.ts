import assert from "node:assert/strict";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { mariadbIsMissing, startMariadb } from "../support/servers/mariadb.ts";
import { postgresqlIsMissing, startPostgresql } from "../support/servers/postgresql.ts";
import { slapdIsMissing, startSlapd } from "../support/servers/slapd.ts";
import { Stopwatch } from "../support/starvation.ts";
import { attemptOnce, eventually, serve, specOf } from "./fixtures.ts";

/** What a server has sent, in the parts between which it waited for its client. */
type Recording = readonly Buffer[];

interface RealServer {
  readonly address: string;
  readonly port: number;
  readonly stop: () => Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly missing: string | false;
  readonly start: () => Promise<RealServer>;
  readonly spec: Partial<CheckSpec>;
}

const statement = { database: "shop", request: "/SELECT * FROM item" };
const kinds: readonly Kind[] = [
  {
    name: "mysql",
    missing: mariadbIsMissing,
    start: startMariadb,
    spec: { service: "mysql", login: "monitor", password: `it's "me"`, ...statement },
  },
  {
    name: "pgsql",
    missing: postgresqlIsMissing,
    start: () => startPostgresql({ tls: false }),
    spec: { service: "pgsql", login: "trusted", ...statement },
  },
  {
    name: "ldap",
    missing: slapdIsMissing,
    start: startSlapd,
    spec: { service: "ldap", request: "/dc=example,dc=org" },
  },
];

/** XLB_DAMAGED=10000 looks longer. */
const tries = Number(process.env["XLB_DAMAGED"] ?? 300);

for (const { name, missing, start, spec } of kinds) {
  describe(`a ${name} check whose server's answers are damaged`, { skip: missing }, () => {
    let recording: Recording;
    before(async () => {
      const server = await start();
      try {
        recording = await record(server, spec);
      } finally {
        await server.stop();
      }
    });
    test("is up as long as they are not", async () => {
      const player = await serve(play(recording));
      const { up, detail } = await attemptOnce(specOf({ ...spec, port: player.port }));
      assert.equal(up, true, detail);
      await player.close();
    });

    test(`ends with an outcome, ${tries} times, and nothing is thrown`, async () => {
      const random = randomNumbers(1);
      const player = await serve((socket) => play(damaged(recording, random))(socket));
      const worstTurnMs = watchTurns();
      const timeouts = { checkTimeoutMs: 150, negotiateTimeoutMs: 150 };
      for (let done = 0; done < tries; done += 20) {
        const watch = new Stopwatch();
        const attempts = Array.from({ length: 20 }, () =>
          attemptOnce(specOf({ ...spec, ...timeouts, port: player.port })),
        );
        for (const { detail, durationMs } of await Promise.all(attempts)) {
          assert.match(detail, /^[^\r\n]+$/);
          assert.ok(durationMs - watch.starvedMs() < 3000, `${durationMs} ms: ${detail}`);
        }
      }
      await eventually("all connections are closed", () => player.open() === 0);
      await player.close();
      const worstMs = worstTurnMs();
      assert.ok(worstMs < 500, `${worstMs} ms of processor time at a stretch`);
    });
  });
}

/** Tells, when asked, how much processor time went by at the most before the event loop came round again. */
function watchTurns(): () => number {
  let worstMs = 0;
  let before = process.cpuUsage();
  const timer = setInterval(() => {
    const { user, system } = process.cpuUsage(before);
    worstMs = Math.max(worstMs, (user + system) / 1000);
    before = process.cpuUsage();
  }, 1);
  return () => {
    clearInterval(timer);
    return worstMs;
  };
}

/** Makes the check once through a relay. */
async function record({ address, port }: RealServer, spec: Partial<CheckSpec>): Promise<Recording> {
  const parts: Buffer[] = [];
  let waits = true;
  const relay = await serve((client) => {
    const upstream = connect(port, address);
    upstream.on("error", () => client.destroy());
    upstream.on("data", (chunk: Buffer) => {
      if (waits) parts.push(chunk);
      else parts.push(Buffer.concat([parts.pop() ?? Buffer.alloc(0), chunk]));
      waits = false;
      client.write(chunk);
    });
    upstream.on("end", () => client.end());
    client.on("data", (chunk) => {
      // A client that is spoken to first has nothing before its first part.
      if (parts.length === 0) parts.push(Buffer.alloc(0));
      waits = true;
      upstream.write(chunk);
    });
    client.on("close", () => upstream.destroy());
  });
  const { up, detail } = await attemptOnce(specOf({ ...spec, port: relay.port, negotiateTimeoutMs: 10_000 }));
  assert.equal(up, true, detail);
  await relay.close();
  return parts;
}

/** Sends a part at once, and another one each time the client says something. */
function play(recording: Recording): (socket: Socket) => void {
  return (socket) => {
    let next = 0;
    const send = (): void => {
      const part = recording[next++];
      if (part !== undefined && part.length > 0) socket.write(part);
    };
    send();
    socket.on("data", send);
  };
}

/** The recording with some bytes changed, removed or put in. */
function damaged(recording: Recording, random: (below: number) => number): Recording {
  const parts = recording.map((part) => Buffer.from(part));
  for (let left = 1 + random(4); left > 0; left--) {
    const index = random(parts.length);
    const part = parts[index] ?? Buffer.alloc(0);
    if (part.length === 0) continue;
    const at = random(part.length);
    const kind = random(6);
    if (kind === 0) parts[index] = part.subarray(0, at);
    else if (kind === 1) parts[index] = Buffer.concat([part.subarray(0, at), part]);
    else part[at] = kind < 4 ? random(256) : ([0, 1, 127, 128, 255][random(5)] ?? 0);
  }
  return parts;
}

/** The same numbers each time. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
