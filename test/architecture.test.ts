import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

/** This file runs as build/test/architecture.test.js. */
const root = join(import.meta.dirname, "..", "..");

/**
 * Who may import whom: a file belongs to the longest prefix that fits, and may import what starts with one of the entries
 * (its own prefix always). Everything points from what wires to what is wired, and nothing points back.
 */
const arrows: Readonly<Record<string, readonly string[]>> = {
  "model/": [],
  "native.ts": [],
  "version.ts": [],
  "config/": ["model/"],
  // Checks match Perl regular expressions and send ICMP by the addon.
  "health/": ["model/", "native.ts"],
  "notify/": ["model/"],
  "control/": ["model/"],
  // A snapshot holds what the daemon tells of itself.
  "report/": ["model/", "control/protocol.ts"],
  "reconcile/": ["model/", "dataplane/data-plane.ts"],
  "dataplane/data-plane.ts": ["model/"],
  "dataplane/netlink/": ["native.ts"],
  "dataplane/xdp/": ["model/", "dataplane/data-plane.ts", "dataplane/netlink/", "native.ts"],
  "dataplane/ipvs/": ["model/", "dataplane/data-plane.ts", "dataplane/netlink/", "native.ts"],
  // Which plane serves what.
  "dataplane/ladder/": ["model/", "dataplane/", "native.ts"],
  "daemon/": [
    "model/",
    "native.ts",
    "version.ts",
    "config/",
    "health/",
    "notify/",
    "control/",
    "report/",
    "reconcile/",
    "dataplane/",
  ],
  // Readers work while the daemon is dead: they read the data plane themselves, by the addon.
  "cli/": ["model/", "native.ts", "version.ts", "control/", "report/", "config/", "dataplane/"],
  // Without a daemon ipvsadm is the writer.
  "cli/ipvsadm/": ["model/", "native.ts", "control/", "cli/", "dataplane/", "reconcile/"],
  // The one command that is the daemon.
  "cli/commands/run.ts": ["model/", "control/", "cli/", "daemon/"],
};

function ownerOf(path: string): string {
  const owner = Object.keys(arrows)
    .filter((prefix) => path.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0];
  assert.ok(owner !== undefined, `src/${path} lies in no folder of the layout`);
  return owner;
}

/** What the TypeScript file imports of ours, as paths below src/. */
function importsOf(path: string): string[] {
  const text = readFileSync(join(root, "src", path), "utf8");
  const specifiers = text.matchAll(/(?:^|\s)(?:from\s+|import\s*\(?\s*)["'](\.[^"']+)["']/g);
  return [...specifiers].map((match) => normalize(join(dirname(path), match[1]!)));
}

const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".ts"),
);

test("every import follows the arrows of the layout", () => {
  const against = sources.flatMap((path) => {
    const owner = ownerOf(path);
    const allowed = [owner, ...arrows[owner]!];
    return importsOf(path)
      .filter((target) => !allowed.some((prefix) => target.startsWith(prefix)))
      .map((target) => `src/${path} imports src/${target}`);
  });
  assert.deepEqual(against, []);
});

test("every import names a file that is there", () => {
  const known = new Set(sources);
  const missing = sources.flatMap((path) =>
    importsOf(path)
      .filter((target) => !known.has(target))
      .map((target) => `src/${path} imports src/${target}`),
  );
  assert.deepEqual(missing, []);
});

test("only native.ts loads the addon", () => {
  const loaders = sources.filter((path) => /\.node"|dlopen/.test(readFileSync(join(root, "src", path), "utf8")));
  assert.deepEqual(loaders, ["native.ts"]);
});
