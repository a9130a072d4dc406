import assert from "node:assert/strict";
import { test } from "node:test";
import { notYetActive } from "../../src/config/not-yet-active.ts";
import { parse } from "./surroundings.ts";

async function found(text: string): Promise<string[]> {
  const { config } = await parse(text);
  assert.ok(config !== undefined);
  return notYetActive(config).map(({ position, what }) => `${position.line}:${position.column} ${what}`);
}

test("an http service with gate, any scheduler and thresholds is active as a whole", async () => {
  assert.deepEqual(
    await found("virtual=10.0.0.1:80\n\treal=10.0.0.2 gate 1 u:5\n\tscheduler=sh\n\tpersistent=9\n"),
    [],
  );
});

test("each thing without effect is named once for a service, where it stands", async () => {
  const text =
    'callback="/c"\nexecute=other\nemailalert=a@b\nvirtual=10.0.0.1:25\n\treal=10.0.0.2 masq\n\treal=10.0.0.3 masq 1 u:5\n' +
    "\tscheduler=sh\n\tmonitorfile=/tmp/m\n\tfallbackcommand=/f\nvirtual=7\n\tchecktype=external\n\treal=10.0.0.2 ipip\n" +
    "virtual=10.0.0.1:53\n\tops=yes\n";
  assert.deepEqual(await found(text), [
    "10:1 firewall mark 7",
  ]);
});
