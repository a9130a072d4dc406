import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { TestContext } from "node:test";
import { digestOf, loadConfig, watchConfig } from "../../src/config/load.ts";
import type { ConfigFileEvent, WatchOptions } from "../../src/config/load.ts";
import { deps } from "./surroundings.ts";

interface Watched {
  readonly file: string;
  /** The next event; rejects if there is none for a while. */
  next(): Promise<ConfigFileEvent>;
  /** Ends the watch and tells whether it ended without another event. */
  end(): Promise<boolean>;
}

/** A file with a watcher on it that has had its first look. */
async function watched(context: TestContext, content: string, options: Partial<WatchOptions> = {}): Promise<Watched> {
  const directory = await mkdtemp(join(tmpdir(), "xlb-config-"));
  const controller = new AbortController();
  const file = join(directory, "ldirectord.cf");
  await writeFile(file, content);
  const digest = options.digest ?? digestOf(Buffer.from(content));
  const events = watchConfig(file, { intervalMs: 20, ...options, digest }, controller.signal);
  context.after(async () => {
    controller.abort();
    await rm(directory, { recursive: true });
  });
  return {
    file,
    next: async () => {
      const deadline = AbortSignal.timeout(60_000);
      const late = new Promise<never>((_, reject) => {
        deadline.addEventListener("abort", () => reject(new Error("no event in time")), { once: true });
      });
      const result = await Promise.race([events.next(), late]);
      assert.ok(result.done !== true);
      return result.value;
    },
    end: async () => {
      const pending = events.next();
      controller.abort();
      return (await pending).done === true;
    },
  };
}

test("a file is read and its digest told", async (context) => {
  const { file } = await watched(context, "autoreload=yes\n");
  const { config, digest } = await loadConfig(file, deps);
  assert.equal(config?.autoreload, true);
  assert.equal(config.file, file);
  assert.equal(digest, digestOf(Buffer.from("autoreload=yes\n")));
});

test("a file that is not there is an error among the diagnostics", async () => {
  const { config, diagnostics, digest } = await loadConfig("/nonexistent/ldirectord.cf", deps);
  assert.equal(config, undefined);
  assert.equal(digest, undefined);
  assert.equal(diagnostics.length, 1);
  assert.match(diagnostics[0]?.message ?? "", /^cannot read the file: ENOENT/);
});

test("another content is reported, with its digest", async (context) => {
  const { file, next, end } = await watched(context, "a");
  const event = next();
  await writeFile(file, "b");
  assert.deepEqual(await event, { kind: "changed", digest: digestOf(Buffer.from("b")) });
  assert.ok(await end());
});

test("a change between loading and watching is not lost", async (context) => {
  const { next } = await watched(context, "new", { digest: digestOf(Buffer.from("old")) });
  assert.equal((await next()).kind, "changed");
});

test("a file put in the old one's place is followed, again and again", async (context) => {
  const { file, next } = await watched(context, "0");
  for (const content of ["1", "2", "3"]) {
    const event = next();
    await writeFile(`${file}.new`, content);
    await rename(`${file}.new`, file);
    assert.deepEqual(await event, { kind: "changed", digest: digestOf(Buffer.from(content)) });
  }
});

test("a touch is nothing, and an older time is as good as a newer one", async (context) => {
  const { file, next } = await watched(context, "a");
  const event = next();
  await utimes(file, new Date(), new Date());
  await writeFile(`${file}.new`, "b");
  await utimes(`${file}.new`, new Date(0), new Date(0));
  await rename(`${file}.new`, file);
  assert.deepEqual(await event, { kind: "changed", digest: digestOf(Buffer.from("b")) });
});

test("a missing file is reported once, and its return", async (context) => {
  const { file, next } = await watched(context, "a");
  let event = next();
  await rm(file);
  const missing = await event;
  assert.ok(missing.kind === "unreadable");
  assert.match(missing.reason, /ENOENT/);
  event = next();
  await writeFile(`${file}.new`, "a");
  await rename(`${file}.new`, file);
  assert.deepEqual(await event, { kind: "readable" });
  event = next();
  await rm(file);
  assert.equal((await event).kind, "unreadable");
  event = next();
  await writeFile(`${file}.new`, "b");
  await rename(`${file}.new`, file);
  assert.equal((await event).kind, "changed");
});

test("notifications make a change known long before the interval is over", async (context) => {
  const { file, next } = await watched(context, "a", { intervalMs: 3_600_000 });
  const event = next();
  // The watcher may not be there yet at the first change: changes until one is seen.
  const writing = new AbortController();
  const writer = (async () => {
    for (let count = 0; !writing.signal.aborted; count += 1) {
      await writeFile(file, String(count));
      await delay(200, undefined, { signal: writing.signal }).catch(() => undefined);
    }
  })();
  assert.equal((await event).kind, "changed");
  writing.abort();
  await writer;
});

test("a file that was missing is read when it is whole, however slowly it is written", async (context) => {
  const { file, next } = await watched(context, "virtual=a");
  const gone = next();
  await rm(file);
  assert.equal((await gone).kind, "unreadable");
  const back = next();
  // At once, because a machine that is busy could keep another thread from writing for longer than a file has to keep still.
  for (const text of ["", "virtual", "virtual=b"]) {
    writeFileSync(file, text);
    await delay(20);
  }
  assert.deepEqual(await back, { kind: "changed", digest: digestOf(Buffer.from("virtual=b")) });
});
