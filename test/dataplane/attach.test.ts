import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { cannotRun } from "./planes.ts";

const missing =
  cannotRun || (!existsSync("/usr/bin/nsenter") && !existsSync("/bin/nsenter") && "nsenter of util-linux is missing");

/** Runs a story of attach-story.ts in a network namespace of its own, which has two ends of a cable, `up0` and `far0`. */
function tell(story: string): void {
  const name = `xlb-attach-${process.pid}-${story}`;
  const far = `${name}-far`;
  const bpffs = `/sys/fs/bpf/${name}`;
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
  const run = (what: string) =>
    execFileSync(
      "nsenter",
      [
        `--net=/run/netns/${name}`,
        process.execPath,
        "--enable-source-maps",
        join(import.meta.dirname, "attach-story.js"),
        what,
        bpffs,
        far,
      ],
      { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"], timeout: 120_000 },
    );
  after(() => {
    try {
      run("remove");
    } finally {
      for (const namespace of [name, far]) ip("netns", "del", namespace);
    }
  });
  for (const namespace of [name, far]) ip("netns", "add", namespace);
  try {
    run(story);
  } catch (error) {
    assert.fail((error as { stderr?: string }).stderr ?? String(error));
  }
}

test("a link outlasts the daemon, and the next one puts its own program there", { skip: missing }, () => {
  tell("update");
});

test("an interface that goes and comes back is attached again, and each event is told", { skip: missing }, () => {
  tell("events");
});

test(
  "an interface that is taken from the XDP plane is left to the next plane, and taken back",
  { skip: missing },
  () => {
    tell("leave");
  },
);

test("native mode where it can be had, generic where it is refused or asked for, and why", { skip: missing }, () => {
  tell("modes");
});
