/** What a kernel that does not take the program says, in words for the operator. */
import { writeFileSync } from "node:fs";
import { release } from "node:os";
import type { NativeError } from "../../native.ts";

/** The oldest kernel that is supported, Debian 12's. */
export const oldestKernel = "6.1";

/** Helpers of the data path by their number in the kernel, and the first Linux that has them. */
const helpers: readonly { readonly id: number; readonly name: string; readonly since: string }[] = [
  { id: 28, name: "bpf_csum_diff", since: "4.6" },
  { id: 51, name: "bpf_redirect_map", since: "4.14" },
  { id: 65, name: "bpf_xdp_adjust_tail", since: "4.18" },
  { id: 69, name: "bpf_fib_lookup", since: "4.18" },
  { id: 169, name: "bpf_timer_init", since: "5.15" },
  { id: 181, name: "bpf_loop", since: "5.17" },
  { id: 189, name: "bpf_xdp_load_bytes", since: "5.18" },
];

function parseRelease(kernel: string): [number, number] {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernel) ?? [];
  return [Number(major ?? 0), Number(minor ?? 0)];
}

function isOlder(kernel: string, than: string): boolean {
  const [major, minor] = parseRelease(kernel);
  const [wantedMajor, wantedMinor] = parseRelease(than);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

/** What the log of libbpf and the verifier names as missing; undefined if it is not about that. */
function missingFeature(log: string): string | undefined {
  const helper = /(?:unknown|invalid) func (?:\w+#)?(\d+)|program of this type cannot use helper \w*#(\d+)/.exec(log);
  if (helper !== null) {
    const id = Number(helper[1] ?? helper[2]);
    const known = helpers.find((candidate) => candidate.id === id);
    return known === undefined ? `BPF helper ${id}` : `the helper ${known.name} (Linux ${known.since})`;
  }
  const map = /map '([^']+)': failed to create: (Invalid argument|Unknown error 524)/.exec(log);
  if (map !== null) return `a kind of BPF map (that of ${map[1]})`;
  if (log.includes("btf_vmlinux is malformed")) return "its own type information (CONFIG_DEBUG_INFO_BTF)";
  if (log.includes("kernel doesn't support global data")) return "global data of BPF programs (Linux 5.2)";
  return undefined;
}

/** The last lines that say something, without libbpf's own frame around them. */
function verdict(log: string): string | undefined {
  const lines = log.split("\n").map((line) => line.trim());
  return lines.findLast(
    (line) =>
      line !== "" &&
      !/^(?:libbpf:|processed \d|verification time|stack depth|-- (?:BEGIN|END)|\d+: \(|;|from \d)/.test(line),
  );
}

/** One sentence: why, on which kernel, and what helps. `kernel` is its release, as uname has it. */
export function describeRefusal(error: NativeError, kernel: string): string {
  if (error.code === "ENOSYS") return `Linux ${kernel} is built without BPF (CONFIG_BPF_SYSCALL)`;
  // With a log the verifier has read the program, and EPERM or EACCES are its verdict.
  if (error.code === "EPERM" && !error.log.includes("BEGIN PROG LOAD LOG")) {
    return (
      "the kernel does not let this process load BPF programs: " +
      "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; kernel lockdown forbids it too"
    );
  }
  const map = /map '([^']+)': failed to create: Cannot allocate memory/.exec(error.log);
  if (map !== null) {
    return `there is not enough memory for the map ${map[1]}: a smaller connection table (--table-size) needs less`;
  }
  const missing = missingFeature(error.log);
  if (isOlder(kernel, oldestKernel)) {
    const lacks = missing === undefined ? "" : `; it lacks ${missing}`;
    return `Linux ${kernel} is too old for the data path, ${oldestKernel} or newer is needed${lacks}`;
  }
  if (missing !== undefined) return `Linux ${kernel} lacks ${missing}, which the data path needs`;
  return `Linux ${kernel} refuses the data path: ${verdict(error.log) ?? error.message}`;
}

/** The kernel has not taken the program or its maps. The message is for the operator. */
export class RefusedError extends Error {
  /** libbpf's and the verifier's. */
  readonly log: string;

  /** `logFile`: where the whole log is put, if there is one; undefined: nowhere. */
  constructor(cause: NativeError, logFile: string | undefined, kernel = release()) {
    super(describeRefusal(cause, kernel) + keepLog(cause, logFile, kernel), { cause });
    this.name = "RefusedError";
    this.log = cause.log;
  }
}

/** Returns what the message says about the file. */
function keepLog(cause: NativeError, logFile: string | undefined, kernel: string): string {
  if (logFile === undefined || cause.log === "") return "";
  try {
    writeFileSync(logFile, `Linux ${kernel}: ${cause.message}\n${cause.log}`);
    return ` (the verifier's whole log is in ${logFile})`;
  } catch (error) {
    return ` (its log could not be written: ${(error as Error).message})`;
  }
}
