import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { findLdirectord } from "../../src/cli/find-ldirectord.ts";

const proc = mkdtempSync(join(tmpdir(), "xlb-proc-"));
after(() => rmSync(proc, { recursive: true }));

function put(pid: string, namespace: string, ...args: readonly string[]): void {
  mkdirSync(join(proc, pid, "ns"), { recursive: true });
  symlinkSync(`net:[${namespace}]`, join(proc, pid, "ns", "net"));
  writeFileSync(join(proc, pid, "cmdline"), args.map((arg) => `${arg}\0`).join(""));
}

test("ldirectord is found where it runs by Perl in this network namespace, and nothing else is taken for it", () => {
  put("self", "1", "node");
  put("10", "1", "node", "/usr/lib/xlb/build/src/cli/main.js", "/usr/sbin/ldirectord", "start");
  put("11", "1", "vi", "/etc/ha.d/ldirectord.cf");
  put("12", "2", "/usr/bin/perl", "-w", "/usr/sbin/ldirectord", "ldirectord.cf", "start");
  put("13", "1", "/usr/bin/perl", "/usr/bin/other", "ldirectord");
  mkdirSync(join(proc, "14"));
  assert.equal(findLdirectord(proc), undefined);
  put("15", "1", "/usr/bin/perl", "-w", "/usr/sbin/ldirectord", "ldirectord.cf", "start");
  assert.equal(findLdirectord(proc), 15);
  rmSync(join(proc, "15"), { recursive: true });
  put("16", "1", "ldirectord tcp:10.0.0.1:80 checking 10.0.0.2");
  assert.equal(findLdirectord(proc), 16);
});
