import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { proftpdIsMissing, startProftpd } from "../support/servers/proftpd.ts";
import type { Proftpd } from "../support/servers/proftpd.ts";
import { Stopwatch } from "../support/starvation.ts";
import { atDeadline, attemptOnce, eventually, respondAtOnce, serve, specOf } from "./fixtures.ts";

const ftp = { service: "ftp", negotiateTimeoutMs: 20_000 } as const;
const alice = { login: "alice", password: "open sesame" } as const;
const anonymous = { login: "anonymous", password: "ldirectord@director.example" } as const;

describe("ftp checks of proftpd", { skip: proftpdIsMissing }, () => {
  let proftpd: Proftpd;
  before(async () => {
    proftpd = await startProftpd();
  });
  after(async () => {
    await proftpd.stop();
  });

  const rows: readonly { name: string; spec: Partial<CheckSpec>; up: boolean; detail: RegExp }[] = [
    {
      name: "a file that matches is up",
      spec: { ...alice, request: "/status.txt", receive: "^all\\nis well\\n\\z" },
      up: true,
      detail: /^receive matches$/,
    },
    {
      name: "a file that does not match is down, and is shown",
      spec: { ...alice, request: "/status.txt", receive: "ill" },
      up: false,
      detail: /^receive does not match "all is well "$/,
    },
    {
      name: "a wrong password is down",
      spec: { ...alice, password: "wrong", request: "/status.txt", receive: "is well" },
      up: false,
      detail: /^login refused: 530 /,
    },
    {
      name: "a file that is not there is down",
      spec: { ...alice, request: "/nowhere", receive: "is well" },
      up: false,
      detail: /^RETR \/nowhere refused: 550 /,
    },
    {
      name: "what the server refuses leaves the text empty",
      spec: { ...alice, request: "/nowhere", receive: "^$" },
      up: true,
      detail: /^RETR \/nowhere refused: 550 /,
    },
    { name: "an empty file is no text", spec: { ...alice, request: "/empty", receive: "." }, up: false, detail: /""$/ },
    {
      name: "the first megabyte of a large file is looked at",
      spec: { ...alice, request: "/large", receive: "^0123456789abcde\\n(?s:.*)e\\n\\z" },
      up: true,
      detail: /^receive matches$/,
    },
    { name: "without receive and login a greeting is up", spec: {}, up: true, detail: /^greeting$/ },
    { name: "without receive a stranger need not be let in", spec: anonymous, up: true, detail: /^login refused: 530/ },
    { name: "without receive a user must be let in", spec: alice, up: true, detail: /^logged in$/ },
    {
      name: "without receive a user who is not let in is down",
      spec: { ...alice, password: "wrong" },
      up: false,
      detail: /^login refused: 530 /,
    },
    {
      name: "without receive any file will do",
      spec: { ...alice, request: "/empty" },
      up: true,
      detail: /^file fetched$/,
    },
    {
      name: "without receive a file that is not there is down",
      spec: { ...alice, request: "/nowhere" },
      up: false,
      detail: /^RETR \/nowhere refused: 550 /,
    },
  ];
  for (const { name, spec, up, detail } of rows) {
    test(name, async () => {
      const result = await attemptOnce(specOf({ ...ftp, address: proftpd.address, port: proftpd.port, ...spec }));
      assert.equal(result.up, up, result.detail);
      assert.match(result.detail, detail);
    });
  }

  test("the data connection goes to the real server, whatever address it names", async () => {
    const { address, masqueradedPort: port } = proftpd;
    const result = await attemptOnce(
      specOf({ ...ftp, ...alice, address, port, request: "/status.txt", receive: "well" }),
    );
    assert.deepEqual([result.up, result.detail], [true, "receive matches"]);
  });

  testInterruption(
    "ftp",
    (port) => specOf({ ...ftp, ...alice, port }),
    () => ({ host: proftpd.address, port: proftpd.port }),
  );
});

describe("ftp checks of servers whose data connection misbehaves", () => {
  const spec = { ...ftp, ...alice, request: "/file", receive: "text" } as const;

  /** Answers all commands well, and says that data comes from the port. */
  const serveControl = async (dataPort: number) =>
    await serve((socket) => {
      const passive = `227 (127,0,0,1,${dataPort >> 8},${dataPort & 255})`;
      const replies: Readonly<Record<string, string>> = { USER: "331", PASV: passive, RETR: "150" };
      socket.write("220 ready\r\n");
      socket.on("data", (chunk) => {
        for (const line of chunk.toString().trim().split("\r\n"))
          socket.write(`${replies[line.slice(0, 4)] ?? "250 ok"}\r\n`);
      });
    });

  test("one that is not there is down", async () => {
    const control = await serveControl(1);
    const result = await attemptOnce(specOf({ ...spec, port: control.port }));
    assert.deepEqual([result.up, result.detail], [false, "connection refused"]);
    await control.close();
  });

  test("one that never ends is down at the deadline, and both connections are closed", async () => {
    const data = await serve(respondAtOnce("text"));
    const control = await serveControl(data.port);
    const attempt = async (negotiateTimeoutMs: number): Promise<[boolean, string]> => {
      const watch = new Stopwatch();
      const { up, detail, durationMs } = await attemptOnce(specOf({ ...spec, port: control.port, negotiateTimeoutMs }));
      const lateMs = durationMs - negotiateTimeoutMs - watch.starvedMs();
      assert.ok(lateMs < 1600, `${lateMs} ms late`);
      return [up, detail];
    };
    await atDeadline(400, attempt, [false, "file not complete in time"]);
    await eventually("the connections are closed", () => control.open() + data.open() === 0);
    await Promise.all([control.close(), data.close()]);
  });

  test("one that sends too much is read up to a megabyte to the byte, however the network cuts it", async () => {
    const megabyte = Buffer.alloc(1 << 20, "a").fill("b", (1 << 20) - 1);
    const data = await serve((socket) => {
      socket.setNoDelay(true);
      // The rest follows in a segment of its own, so no chunk ends where the megabyte does.
      socket.write(megabyte.subarray(0, 1000), () => {
        setImmediate(() => socket.write(Buffer.concat([megabyte.subarray(1000), Buffer.alloc(1 << 20, "c")])));
      });
    });
    const control = await serveControl(data.port);
    const result = await attemptOnce(
      specOf({ ...spec, port: control.port, receive: "ab\\z", negotiateTimeoutMs: 10_000 }),
    );
    assert.deepEqual([result.up, result.detail], [true, "receive matches"]);
    await Promise.all([control.close(), data.close()]);
  });

  test("one that is reset in the middle is down", async () => {
    const data = await serve((socket) => {
      socket.write("text");
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    const control = await serveControl(data.port);
    const result = await attemptOnce(specOf({ ...spec, port: control.port }));
    assert.deepEqual([result.up, result.detail], [false, "no file: connection reset by the server"]);
    await Promise.all([control.close(), data.close()]);
  });

  test("an answer to PASV that makes no sense is down", async () => {
    for (const answer of ["227 come in", "227 (127,0,0,1,999,1)", "227 (127,0,0,1,0,0)", "502 no"]) {
      const control = await serve((socket) => {
        socket.write("220 ready\r\n");
        socket.on("data", (chunk) => socket.write(`${chunk.toString().startsWith("PASV") ? answer : "230 ok"}\r\n`));
      });
      const result = await attemptOnce(specOf({ ...spec, port: control.port }));
      assert.deepEqual([result.up, result.detail], [false, `passive transfer refused: ${answer}`]);
      await control.close();
    }
  });
});

testMisbehaviour("ftp", (port) => specOf({ ...ftp, ...alice, port, request: "/status.txt", receive: "well" }));
testMisbehaviour("ftp without receive", (port) => specOf({ ...ftp, port }));
