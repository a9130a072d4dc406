import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { guest } from "../support/guest.ts";

const skip = guest.unavailable() ?? false;

test("a guest passes both streams and the exit status through, and writes only where it may", { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-guest-"));
  try {
    const command = 'pwd; uname -r; echo trouble >&2; echo kept >"$0/file"; echo lost >/etc/xlb-guest; exit 7';
    const result = await guest.run(["bash", "-c", command, folder], { rw: [folder] });
    const [where, release] = result.stdout.split("\n");
    assert.equal(result.status, 7);
    assert.equal(where, process.cwd());
    assert.match(release ?? "", /^6\.1\./);
    assert.equal(result.stderr, "trouble\n");
    assert.equal(readFileSync(join(folder, "file"), "utf8"), "kept\n");
    assert.throws(() => readFileSync("/etc/xlb-guest"), /ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a guest has IPVS, and modules are loaded when they are asked for", { skip }, async () => {
  const command = "modprobe ip_vs && ipvsadm -A -t 192.0.2.1:80 -s mh -b mh-fallback && ipvsadm -Sn";
  const result = await guest.run(["bash", "-c", command]);
  assert.deepEqual(result, { status: 0, stdout: "-A -t 192.0.2.1:80 -s mh -b mh-fallback\n", stderr: "" });
});

test("a command that takes too long ends with its guest", { skip }, async () => {
  const run = async (timeoutMs: number): Promise<void> => {
    const { status, stdout, stderr } = await guest.run(["bash", "-c", "echo begun; sleep 600"], { timeoutMs });
    assert.equal(status, 124);
    assert.match(stderr, new RegExp(`${timeoutMs / 1000} seconds were over`));
    // On a busy machine the guest may not be up by then.
    if (stdout === "" && timeoutMs < 60_000) await run(4 * timeoutMs);
    else assert.equal(stdout, "begun\n");
  };
  await run(4000);
});
