/** Courses of events in which ldirectord's tables and ours are the same after every step. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import fc from "fast-check";
import { missing, Scenario } from "./scenario.ts";

function scenario(t: TestContext): Scenario {
  const made = new Scenario();
  t.after(() => made.remove());
  return made;
}

/** A section with external checks. */
function section(made: Scenario, head: string, ...lines: readonly string[]): string {
  return [head, "checktype=external", `checkcommand=${made.check}`, ...lines].join("\n\t");
}

// --- random courses of events

/** Real servers of a service are its own: of shared ones with unequal checks ldirectord forgets some. */
const realsOfService = 3;
const addressOf = (real: number): string => `192.0.2.${real + 1}`;

function courses() {
  const real = fc.nat(4 * realsOfService - 1);
  const reals = fc.uniqueArray(real, { minLength: 1, maxLength: 6 });
  const line = fc.record({
    method: fc.constantFrom("gate", "gate", "masq", "ipip"),
    weight: fc.constantFrom(0, 1, 1, 2, 10, 65_535),
    port: fc.constantFrom(8080, 81),
    upper: fc.constantFrom(0, 0, 0, 50),
  });
  const service = fc.record({
    index: fc.nat(3),
    protocol: fc.constantFrom("tcp", "tcp", "udp", "mark"),
    scheduler: fc.constantFrom("rr", "wrr", "wlc", "sh"),
    persistent: fc.option(fc.constantFrom(60, 300)),
    quiescent: fc.option(fc.boolean()),
    cleanStop: fc.option(fc.boolean()),
    fallback: fc.option(fc.constantFrom("127.0.0.9:80 gate", "127.0.0.8:8080 masq")),
    checkType: fc.constantFrom("external", "external", "external", "external", "on"),
    reals: fc.array(line, { maxLength: realsOfService }),
  });
  const file = fc.record({
    quiescent: fc.option(fc.boolean()),
    cleanStop: fc.boolean(),
    fallback: fc.boolean(),
    services: fc.uniqueArray(service, { minLength: 1, maxLength: 4, selector: ({ index }) => index }),
  });
  const event = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("up" as const), reals }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("down" as const), reals }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("maintenance" as const), real, on: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("reload" as const), file }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("signal" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  );
  return fc.record({ first: file, up: reals, events: fc.array(event, { minLength: 6, maxLength: 8 }) });
}

type FileShape = ReturnType<typeof courses> extends fc.Arbitrary<{ first: infer Shape }> ? Shape : never;

function printServices(it: Scenario, file: FileShape): string {
  const option = (name: string, value: boolean | null): string[] =>
    value === null ? [] : [`${name}=${value ? "yes" : "no"}`];
  const globals = [
    ...option("quiescent", file.quiescent),
    ...option("cleanstop", file.cleanStop),
    `maintenancedir=${it.maintenanceDir}`,
    ...(file.fallback ? ["fallback=127.0.0.1"] : []),
  ];
  const sections = file.services.map((each) => {
    const mark = each.protocol === "mark";
    // For a mark the global fallback is one for us only.
    const fallback = each.fallback ?? (mark ? "127.0.0.7" : null);
    return [
      `virtual=${mark ? each.index + 1 : `10.0.0.${each.index + 1}:80`}`,
      ...(mark ? [] : [`protocol=${each.protocol}`]),
      `scheduler=${each.scheduler}`,
      ...(each.persistent === null ? [] : [`persistent=${each.persistent}`]),
      ...option("quiescent", each.quiescent),
      ...option("cleanstop", each.cleanStop),
      ...(fallback === null ? [] : [`fallback=${fallback}`]),
      `checktype=${each.checkType}`,
      `checkcommand=${it.check}`,
      // Of another port under gate and ipip ldirectord loses sight.
      ...each.reals.map((line, index) => {
        const port = mark ? "" : `:${line.method === "masq" ? line.port : 80}`;
        const upper = line.upper > 0 ? ` u:${line.upper}` : "";
        return `real=${addressOf(each.index * realsOfService + index)}${port} ${line.method} ${line.weight}${upper}`;
      }),
    ].join("\n\t");
  });
  return [...globals, ...sections].join("\n");
}

// --- the tests

describe("ldirectord's tables are ours", { skip: missing(), concurrency: 2 }, () => {
  test("real servers that fail are removed, the fallback comes and goes, maintenance, reloads, stop", async (t) => {
    const it = scenario(t);
    const [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    const globals = `quiescent=no\nmaintenancedir=${it.maintenanceDir}\nfallback=127.0.0.1`;
    const web = (...lines: string[]): string => section(it, "virtual=10.0.0.1:80", ...lines);
    const dns = (...lines: string[]): string => section(it, "virtual=10.0.0.1:53", ...lines);
    it.configure(
      [globals, web(`real=${a}:80 gate`, `real=${b}:80 gate 5`), dns(`real=${a}:53 masq`, `real=${c} ipip 2`)].join(
        "\n",
      ),
    );
    it.up(a, b, c);
    const full = await it.step("start with all up", () => it.start());
    assert.ok(full.includes("tcp:10.0.0.1:80 -> 192.0.2.2:80 gate 5 0 0") && full.length === 8, full.join("\n"));
    await it.step("one is down", () => it.down(a));
    const fallback = await it.step("all are down", () => it.down(b, c));
    assert.ok(fallback.includes("udp:10.0.0.1:53 -> 127.0.0.1:53 gate 1 0 0"), fallback.join("\n"));
    await it.step("one is up", () => it.up(b));
    await it.step("all are up", () => it.up(a, c));
    await it.step("maintenance of a real server of one port", () => it.maintain(`${b}:80`, true));
    await it.step("maintenance of an address", () => it.maintain(a, true));
    await it.step("the end of all maintenance", () => {
      it.maintain(`${b}:80`, false);
      it.maintain(a, false);
    });
    await it.step("a reload without a change", () => it.reload());
    await it.step("other weights, method, scheduler, persistence; one more, one less", async () => {
      it.configure(
        [
          globals,
          web(`real=${b}:80 gate 9`, `real=${c}:80 gate`, "scheduler=rr", "persistent=300", "netmask=255.255.255.0"),
          dns(`real=${a}:53 gate 0`),
        ].join("\n"),
      );
      await it.reload();
    });
    await it.step("a service less, a service more, with a fallback of its own", async () => {
      it.configure(
        [
          globals,
          section(it, "virtual=10.0.0.2:443", `real=${a}:8443 masq 3`, "fallback=127.0.0.2:8080 masq"),
          web(`real=${c}:80 gate`),
        ].join("\n"),
      );
      await it.reload();
    });
    await it.step("its real server is down", () => it.down(a));
    await it.step("the other protocol", async () => {
      it.configure([globals, web(`real=${c}:80 gate`, "protocol=udp", "ops=yes")].join("\n"));
      await it.reload();
    });
    await it.step("a file with an error", async () => {
      it.breakConfiguration("virtual=10.0.0.1:80\n\tquiescent=maybe\n");
      await it.reload();
    });
    it.configure([globals, web(`real=${c}:80 gate`)].join("\n"));
    await it.step("a good file again", () => it.reload());
    assert.deepEqual(await it.step("stop", () => it.stop()), []);
  });

  test("quiescent services keep real servers at weight 0, beside the fallback; cleanstop=no keeps them at the end", async (t) => {
    const it = scenario(t);
    const [a, b, c, d] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    const text = [
      `quiescent=yes\nfallback=127.0.0.1:80 gate\nfallback6=[::1]`,
      section(it, "virtual=10.0.0.1:80", `real=${a}:80 gate 3 u:100`, `real=${b}:80 gate`, "cleanstop=no"),
      section(it, "virtual=10.0.0.2:80", `real=${c}:8080 masq 2`, "quiescent=no", "failurecount=3"),
      section(it, "virtual6=[2001:db8::1]:80", "real6=[2001:db8::2]:80 gate 2", "real6=[2001:DB8::3]:80 gate"),
      section(
        it,
        "virtual=10.0.0.3:80",
        `real=${d}:80 ipip`,
        "fallback=127.0.0.9:80 ipip",
        "scheduler=mh",
        "schedflags=mh-port",
      ),
    ].join("\n");
    it.configure(text);
    it.up(a, c, "[2001:db8::2]");
    const begun = await it.step("start with some down", () => it.start());
    assert.ok(begun.includes("tcp:10.0.0.1:80 -> 192.0.2.2:80 gate 0 0 0"), begun.join("\n"));
    assert.ok(begun.includes("tcp:10.0.0.3:80 -> 127.0.0.9:80 ipip 1 0 0"), begun.join("\n"));
    await it.step("all up", () => it.up(b, d, "[2001:db8::3]"));
    await it.step("one with thresholds is down", () => it.down(a));
    await it.step("all of all services are down", () => it.down(b, c, d, "[2001:db8::2]", "[2001:db8::3]"));
    await it.step("some come back", () => it.up(a, "[2001:db8::3]"));
    await it.step("a reload with real servers at weight 0", () => it.reload());
    await it.step("quiescent no more", async () => {
      it.configure(text.replace("quiescent=yes", "quiescent=no"));
      await it.reload();
    });
    await it.step("quiescent again, all up", async () => {
      it.up(b, c, d);
      it.configure(text);
      await it.reload();
    });
    const left = await it.step("stop", () => it.stop());
    assert.ok(left.length > 0 && left.every((line) => line.startsWith("tcp:10.0.0.1:80")), left.join("\n"));
    await it.step("start beside what is left", () => it.start());
    await it.step("all down", () => it.down(a, b, c, d));
    await it.step("stop again", () => it.stop());
  });

  test("marks, ranges, checks that are off and on, port 0, and what IPVS refuses", async (t) => {
    const it = scenario(t);
    const text = [
      "quiescent=no\nfallback=127.0.0.1",
      section(
        it,
        "virtual=7",
        "real=192.0.2.10 gate 2",
        "real=192.0.2.11:80 masq",
        "fallback=127.0.0.5",
        "persistent=60",
      ),
      section(it, "virtual6=7", "real6=[2001:db8::9] gate"),
      section(it, "virtual=10.0.0.1:80", "real=192.0.2.1->192.0.2.3:80 gate 4", "real=192.0.2.9:80 gate 1"),
      "virtual=10.0.0.2:80\n\tchecktype=on\n\treal=192.0.2.20:80 gate\n\treal=192.0.2.21:80 masq 7",
      "virtual=10.0.0.3:80\n\tchecktype=off\n\treal=192.0.2.20:80 gate",
      "virtual=10.0.0.4:80\n\tchecktype=off\n\tquiescent=yes\n\treal=192.0.2.22:80 gate 3",
      section(it, "virtual=10.0.0.5:0", "real=192.0.2.1 gate", "persistent=300"),
      "virtual=10.0.0.6:0\n\treal=192.0.2.1 gate\n\tchecktype=on",
      "virtual=10.0.0.7:80\n\tscheduler=best\n\treal=192.0.2.1:80 gate\n\tchecktype=on",
      "virtual=10.0.0.8:80\n\treal=192.0.2.31:80 gate 65536\n\treal=192.0.2.32:80 gate 1 l:9 u:5\n\treal=192.0.2.33:80 gate 2 l:5 u:9\n\tchecktype=on",
      "virtual=10.0.0.9:80\n\tchecktype=on\n\treal=192.0.2.41:80 gate 2\n\treal=192.0.2.41:80 gate 5",
      "virtual=10.0.0.10:5353\n\tprotocol=udp\n\tops=yes\n\tchecktype=on\n\treal=192.0.2.42:5353 ipip",
      "virtual=10.0.0.11:80\n\tnetmask=255.255.0.0\n\tservice=none\n\treal=192.0.2.43:80 gate",
    ].join("\n");
    it.configure(text);
    it.up("192.0.2.1", "192.0.2.2", "192.0.2.10", "192.0.2.12", "192.0.2.9");
    await it.step("start", () => it.start());
    await it.step("others are up", () => {
      it.down("192.0.2.1", "192.0.2.10", "192.0.2.12");
      it.up("192.0.2.3", "192.0.2.11", "[2001:db8::9]");
    });
    await it.step("all of the marks are down", () => it.down("192.0.2.11", "[2001:db8::9]"));
    await it.step("a reload", () => it.reload());
    await it.step("a check is off that was external", async () => {
      it.configure(text.replace(section(it, "virtual=10.0.0.1:80"), "virtual=10.0.0.1:80\n\tchecktype=off"));
      await it.reload();
    });
    await it.step("and on again", async () => {
      it.configure(text);
      it.up("192.0.2.1");
      await it.reload();
    });
    assert.deepEqual(await it.step("stop", () => it.stop()), []);
  });

  test("real servers that several services share", async (t) => {
    const it = scenario(t);
    const [a, b] = ["192.0.2.1", "192.0.2.2"];
    const three = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map((address, index) =>
      section(it, `virtual=${address}`, `real=${a}:80 gate`, ...(index === 1 ? [] : [`real=${b}:80 gate`])),
    );
    it.configure(["quiescent=no\nfallback=127.0.0.1", ...three].join("\n"));
    it.up(a, b);
    await it.step("start", () => it.start());
    await it.step("the one that all share is down", () => it.down(a));
    await it.step("all down", () => it.down(b));
    await it.step("up", () => it.up(a));
    await it.step("one service less", async () => {
      it.configure(["quiescent=no\nfallback=127.0.0.1", ...three.slice(1)].join("\n"));
      await it.reload();
    });
    assert.deepEqual(await it.step("stop", () => it.stop()), []);
  });

  const seed = Number(process.env["XLB_SEED"] ?? 20_261_123);
  const count = Number(process.env["XLB_SCENARIOS"] ?? 1);
  for (const [index, events] of fc.sample(courses(), { seed, numRuns: count }).entries()) {
    test(`random events, ${index + 1} of ${count}`, async (t) => {
      const it = scenario(t);
      it.configure(printServices(it, events.first));
      it.up(...events.up.map(addressOf));
      await it.step("start", () => it.start());
      for (const event of events.events) {
        const what = JSON.stringify(event);
        await it.step(what.length > 200 ? event.kind : what, async () => {
          if (event.kind === "up") it.up(...event.reals.map(addressOf));
          if (event.kind === "down") it.down(...event.reals.map(addressOf));
          if (event.kind === "maintenance") it.maintain(addressOf(event.real), event.on);
          if (event.kind === "reload") it.configure(printServices(it, event.file));
          if (event.kind === "reload" || event.kind === "signal") await it.reload();
          if (event.kind === "restart") {
            await it.stop();
            await it.start();
          }
        });
      }
      await it.step("stop", () => it.stop());
    });
  }
});
