import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { describeRefusal, RefusedError } from "../../src/dataplane/xdp/refusal.ts";
import type { NativeError } from "../../src/native.ts";

function refused(code: string, log = ""): NativeError {
  const message = `objectLoad director: refused (${code})`;
  return Object.assign(new Error(message), { code, errno: 1, call: "objectLoad", object: "director", log });
}

function verifierLog(...lines: string[]): string {
  return [
    "libbpf: prog 'director': BPF program load failed: Invalid argument",
    "libbpf: prog 'director': -- BEGIN PROG LOAD LOG --",
    "; if (bpf_xdp_load_bytes(ctx, offset, scratch->quote, length))",
    "4686: (85) call bpf_xdp_load_bytes#189",
    ...lines,
    "processed 34292 insns (limit 1000000) max_states_per_insn 31 total_states 871 peak_states 439 mark_read 35",
    "-- END PROG LOAD LOG --",
    "libbpf: prog 'director': failed to load: -22",
    "libbpf: failed to load object 'director'",
    "",
  ].join("\n");
}

test("a kernel that is too old is named, with what it lacks", () => {
  assert.equal(
    describeRefusal(refused("EINVAL", verifierLog("unknown func bpf_loop#181")), "5.10.0-33-amd64"),
    "Linux 5.10.0-33-amd64 is too old for the data path, 6.1 or newer is needed; " +
      "it lacks the helper bpf_loop (Linux 5.17)",
  );
  assert.equal(
    describeRefusal(refused("EINVAL", verifierLog("invalid func unknown#189")), "5.15.0"),
    "Linux 5.15.0 is too old for the data path, 6.1 or newer is needed; " +
      "it lacks the helper bpf_xdp_load_bytes (Linux 5.18)",
  );
  assert.equal(
    describeRefusal(refused("EACCES", verifierLog("R4 unbounded memory access")), "5.19.2"),
    "Linux 5.19.2 is too old for the data path, 6.1 or newer is needed",
  );
});

test("a kernel that is new enough but lacks something is told what", () => {
  assert.equal(
    describeRefusal(refused("EINVAL", verifierLog("unknown func bpf_timer_init#169")), "6.6.1"),
    "Linux 6.6.1 lacks the helper bpf_timer_init (Linux 5.15), which the data path needs",
  );
  assert.equal(
    describeRefusal(refused("EINVAL", verifierLog("unknown func bpf_new#999")), "6.6.1"),
    "Linux 6.6.1 lacks BPF helper 999, which the data path needs",
  );
  assert.equal(
    describeRefusal(
      refused("EINVAL", "libbpf: map 'redirect_ports': failed to create: Invalid argument(-22)\n"),
      "6.6.1",
    ),
    "Linux 6.6.1 lacks a kind of BPF map (that of redirect_ports), which the data path needs",
  );
  assert.equal(
    describeRefusal(
      refused("EACCES", verifierLog("btf_vmlinux is malformed", "R1 invalid mem access 'mem_or_null'")),
      "6.1.176",
    ),
    "Linux 6.1.176 lacks its own type information (CONFIG_DEBUG_INFO_BTF), which the data path needs",
  );
  assert.equal(describeRefusal(refused("ENOSYS"), "6.6.1"), "Linux 6.6.1 is built without BPF (CONFIG_BPF_SYSCALL)");
});

test("what the verifier says in the end is the reason otherwise", () => {
  assert.equal(
    describeRefusal(refused("EACCES", verifierLog("R3 min value is outside of the allowed memory range")), "6.1.0"),
    "Linux 6.1.0 refuses the data path: R3 min value is outside of the allowed memory range",
  );
  assert.equal(
    describeRefusal(refused("EIO"), "6.1.0"),
    "Linux 6.1.0 refuses the data path: objectLoad director: refused (EIO)",
  );
});

test("missing rights and missing memory are not the kernel's age", () => {
  assert.match(describeRefusal(refused("EPERM"), "5.10.0"), /^the kernel does not let this process load BPF programs/);
  assert.match(
    describeRefusal(
      refused("ENOMEM", "libbpf: map 'connections': failed to create: Cannot allocate memory(-12)\n"),
      "5.10.0",
    ),
    /^there is not enough memory for the map connections: .*--table-size/,
  );
});

test("the whole log is kept where the message says", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-refusal-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "refused.log");
  const log = verifierLog("unknown func bpf_loop#181");
  const error = new RefusedError(refused("EINVAL", log), file, "5.10.0");
  assert.ok(error.message.endsWith(`(the verifier's whole log is in ${file})`), error.message);
  assert.equal(error.log, log);
  assert.equal(readFileSync(file, "utf8"), `Linux 5.10.0: objectLoad director: refused (EINVAL)\n${log}`);
});

test("a log that cannot be written does not hide the reason", () => {
  const error = new RefusedError(refused("EACCES", verifierLog("R4 unbounded memory access")), "/nowhere/x", "6.1.0");
  assert.match(error.message, /^Linux 6\.1\.0 refuses the data path: R4 unbounded memory access \(its log could not/);
});
