import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, describe, test } from "node:test";
import { internetChecksum } from "../../src/health/echo-sockets.ts";
import { attemptOnce, echo, specOf } from "./fixtures.ts";

const type = { kind: "ping" } as const;

describe("ping checks", { skip: process.getuid?.() === 0 ? false : "root is needed" }, () => {
  after(() => echo.close());

  test("loopback answers, IPv4 and IPv6", async () => {
    for (const address of ["127.0.0.1", "127.9.8.7", "::1"]) {
      const result = await attemptOnce(specOf({ type, address }));
      assert.deepEqual([result.up, result.detail], [true, "echo reply"]);
    }
  });

  test("a connect check of a UDP service is a ping", async () => {
    const result = await attemptOnce(specOf({ type: { kind: "connect" }, protocol: "udp", port: 0 }));
    assert.deepEqual([result.up, result.detail], [true, "echo reply"]);
  });

  test("a thousand requests under way at once get each their own answer", async () => {
    const addresses = Array.from({ length: 1000 }, (_, index) => `127.0.${index >> 8}.${1 + (index & 0xff)}`);
    const unique = addresses.filter((address) => !address.endsWith(".256") && !address.endsWith(".255"));
    const results = await Promise.all(unique.map((address) => attemptOnce(specOf({ type, address }))));
    assert.deepEqual(
      results.filter(({ up }) => !up),
      [],
    );
  });

  test("an address that cannot be reached is down at once", async () => {
    const result = await attemptOnce(specOf({ type, address: "255.255.255.255" }));
    assert.equal(result.up, false);
    assert.match(result.detail, /^echo request: /);
  });

  test("an address without a host is asked checkcount times, and is down in time", () => {
    const namespace = `xlb-health-ping-${process.pid}`;
    const href = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const ip = (...parameters: string[]): void => void execFileSync("ip", parameters, { stdio: "pipe" });
    ip("netns", "add", namespace);
    try {
      ip("-n", namespace, "link", "set", "lo", "up");
      ip("-n", namespace, "link", "add", "one", "type", "veth", "peer", "name", "two");
      ip("-n", namespace, "address", "add", "192.0.2.1/24", "dev", "one");
      ip("-n", namespace, "address", "add", "2001:db8::1/64", "dev", "one", "nodad");
      ip("-n", namespace, "link", "set", "one", "up");
      ip("-n", namespace, "link", "set", "two", "up");
      const program = `
        import { atDeadline, attemptOnce, echo, specOf } from ${href("./fixtures.js")};
        import { Stopwatch } from ${href("../support/starvation.js")};
        const ping = { type: { kind: "ping" }, checkCount: 2 };
        for (const address of ["192.0.2.2", "2001:db8::2"]) {
          const attempt = async (checkTimeoutMs) => {
            const watch = new Stopwatch();
            const { up, detail, durationMs } = await attemptOnce(specOf({ ...ping, address, checkTimeoutMs }));
            const lateMs = durationMs - checkTimeoutMs - watch.starvedMs();
            return [up, detail, durationMs > 0.8 * checkTimeoutMs, lateMs < 900];
          };
          await atDeadline(120, attempt, [false, "no echo reply, 2 sent", true, true]);
        }
        const { up, detail } = await attemptOnce(specOf({ ...ping, address: "192.0.2.1" }));
        console.log(up, detail);
        echo.close();
      `;
      const output = execFileSync(
        "nsenter",
        [`--net=/run/netns/${namespace}`, process.execPath, "--input-type=module", "--eval", program],
        { encoding: "utf8" },
      );
      assert.equal(output, "true echo reply\n");
    } finally {
      ip("netns", "delete", namespace);
    }
  });
});

test("the Internet checksum of a message that carries it is zero", () => {
  const message = Buffer.from("0800000012340001aabbccdd", "hex");
  message.writeUInt16BE(internetChecksum(message), 2);
  assert.equal(internetChecksum(message), 0);
});
