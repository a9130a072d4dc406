/**
 * A cluster in network namespaces, as a fixture object that cleans up after itself:
 *
 *     clients -- gateway --+-- front --+-- director --+-- back --+-- http1, http2, ...
 *                          +---------- the servers' answers -----+
 *
 * `front` and `back` are bridges in a namespace of their own, `switch`. With one arm there is only `front`, and the real
 * servers are on it too. The virtual addresses are on the director's client-side leg and on `lo` of the real servers, which
 * do not answer ARP for them. Real servers answer clients through the gateway, not through the director.
 *
 * Everything that runs in a lab is found by its network namespace and ends with the lab, also when the test fails or is
 * interrupted. Nothing leaves the namespaces: none has a way out of the machine.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

/** This file runs as build/test/support/lab.js. */
export const projectRoot = join(import.meta.dirname, "..", "..", "..");
const passProgram = join(projectRoot, "build", "test-bpf", "xdp_pass.bpf.o");

/** The addresses of one family, `address/prefix length` each. */
export interface AddressPlan {
  readonly clients: readonly string[];
  /** The gateway's address towards the clients, and the one towards the director. */
  readonly clientGateway: string;
  readonly gateway: string;
  readonly director: string;
  readonly virtual: readonly string[];
  /** The second arm; without it the real servers are in the director's one network. */
  readonly serverSide?: { readonly gateway: string; readonly director: string };
  readonly servers: readonly string[];
}

/** The tutorial's addresses; `http1` and `http2` behind the director's second leg. */
export const tutorialPlan: AddressPlan = {
  clients: ["172.20.0.11/24", "172.20.0.12/24", "172.20.0.13/24", "172.20.0.14/24"],
  clientGateway: "172.20.0.1/24",
  gateway: "10.10.10.1/24",
  director: "10.10.10.52/24",
  virtual: ["10.10.10.53/24"],
  serverSide: { gateway: "192.168.200.1/24", director: "192.168.200.52/24" },
  servers: ["192.168.200.102/24", "192.168.200.103/24"],
};

export const tutorialPlan6: AddressPlan = {
  clients: ["fd00:20::11/64", "fd00:20::12/64", "fd00:20::13/64", "fd00:20::14/64"],
  clientGateway: "fd00:20::1/64",
  gateway: "fd00:10::1/64",
  director: "fd00:10::52/64",
  virtual: ["fd00:10::53/64"],
  serverSide: { gateway: "fd00:200::1/64", director: "fd00:200::52/64" },
  servers: ["fd00:200::102/64", "fd00:200::103/64"],
};

/** One arm: director and real servers in one network, with other addresses than the tutorial's. */
export const oneArmedPlan: AddressPlan = {
  clients: ["198.51.100.21/24", "198.51.100.22/24", "198.51.100.23/24"],
  clientGateway: "198.51.100.1/24",
  gateway: "203.0.113.1/26",
  director: "203.0.113.2/26",
  virtual: ["203.0.113.10/32", "203.0.113.11/32"],
  servers: ["203.0.113.21/26", "203.0.113.22/26", "203.0.113.23/26"],
};

export const oneArmedPlan6: AddressPlan = {
  clients: ["2001:db8:1::21/64", "2001:db8:1::22/64", "2001:db8:1::23/64"],
  clientGateway: "2001:db8:1::1/64",
  gateway: "2001:db8:2::1/64",
  director: "2001:db8:2::2/64",
  virtual: ["2001:db8:2::10/128", "2001:db8:2::11/128"],
  servers: ["2001:db8:2::21/64", "2001:db8:2::22/64", "2001:db8:2::23/64"],
};

export interface LabOptions {
  /** One of each family at most; all with as many arms, servers and clients. */
  readonly plans: readonly AddressPlan[];
  /** A fixed name for a lab that outlives this process. */
  readonly keepAs?: string;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CurlResult {
  /** HTTP status; 0 if there was no answer. */
  readonly status: number;
  readonly body: string;
  /** The name of the host that answered, of its `X-Server` header: `http1`, `director`; empty if none. */
  readonly server: string;
  /** The client's address as that host saw it. */
  readonly client: string;
  /** curl's exit status and words; 0 and empty if it went well. */
  readonly code: number;
  readonly error: string;
}

/** Why a lab cannot be made here; false if it can. For the `skip` option of a test. */
export function labIsMissing(): string | false {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const command of ["ip", "nsenter", "nginx", "curl", "ethtool"]) {
    if (!onPath(command)) return `${command} is not installed`;
  }
  if (!existsSync(passProgram)) return `${passProgram} is not built`;
  return false;
}

function onPath(command: string): boolean {
  return `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`.split(":").some((folder) => existsSync(join(folder, command)));
}

/** The address without its prefix length. */
export function bare(address: string): string {
  return address.replace(/\/.*/, "");
}

export function isIpv6(address: string): boolean {
  return address.includes(":");
}

/** `http://10.10.10.53:80/` with brackets where an address wants them. */
export function url(address: string, path = "/", port = 80): string {
  const host = bare(address);
  return `http://${isIpv6(host) ? `[${host}]` : host}:${port}${path}`;
}

/** Thrown by a probe that can no longer come true. */
export class Hopeless extends Error {}

/** Polls until `probe` returns something else than undefined or false; fails with what was seen last. */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 60_000,
  everyMs = 50,
): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      last = value;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      // A probe may fail as long as what it looks at is not there yet.
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: not seen within ${deadlineMs} ms${last instanceof Error ? ` (${last.message})` : ""}`, {
        cause: last,
      });
    }
    await delay(everyMs);
  }
}

/** A process in a namespace of the lab; its output goes to a file. */
export class LabProcess {
  readonly child: ChildProcess;
  readonly logFile: string;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;

  constructor(child: ChildProcess, logFile: string) {
    this.child = child;
    this.logFile = logFile;
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    assert.ok(this.child.pid !== undefined, "the process was not started");
    return this.child.pid;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Sends the signal and waits for the end; SIGKILL follows if there is none. */
  async end(signal: NodeJS.Signals = "SIGTERM", deadlineMs = 60_000): Promise<void> {
    if (!this.running) return;
    this.child.kill(signal);
    const own = new AbortController();
    const late = delay(deadlineMs, "late" as const, { signal: own.signal }).catch(() => "late" as const);
    if ((await Promise.race([this.exited, late])) === "late") this.child.kill("SIGKILL");
    own.abort();
    await this.exited;
  }
}

/** Labs that this process made and has not removed. */
const open = new Set<Lab>();

function removeAll(): void {
  for (const lab of open) lab.removeNow();
}

let watching = false;

/** Removes what is open when the process ends, in whatever way but SIGKILL. */
function watchForTheEnd(): void {
  if (watching) return;
  watching = true;
  process.once("exit", removeAll);
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.once(signal, () => {
      removeAll();
      process.exit(128 + number);
    });
  }
}

const prefix = "xlb-lab-";
/** For each step of making a lab: an emulated machine on a busy one takes long. */
const buildDeadlineMs = 120_000;
let counter = 0;

export class Lab {
  readonly name: string;
  /** Everything on disk: configurations, logs, document roots, the bpffs. */
  readonly dir: string;
  readonly plans: readonly AddressPlan[];
  /** A bpffs of the lab's own. */
  readonly bpffs: string;
  readonly kept: boolean;
  readonly hosts: readonly string[];
  readonly servers: readonly string[];
  readonly #nginx = new Map<string, LabProcess>();
  #processes = 0;
  #removed = false;

  private constructor(name: string, dir: string, options: LabOptions) {
    this.name = name;
    this.dir = dir;
    this.bpffs = join(dir, "bpf");
    this.plans = options.plans;
    this.kept = options.keepAs !== undefined;
    this.servers = this.plan.servers.map((_, index) => `http${index + 1}`);
    this.hosts = ["client", "gateway", "switch", "director", ...this.servers];
  }

  /** The first plan: IPv4 unless the lab has IPv6 only. */
  get plan(): AddressPlan {
    const [plan] = this.plans;
    assert.ok(plan, "a lab needs an address plan");
    return plan;
  }

  /** The first virtual address of the first plan. */
  get virtualAddress(): string {
    const [address] = this.plan.virtual;
    assert.ok(address !== undefined, "the plan has no virtual address");
    return bare(address);
  }

  /** The network, with all web servers running: the real servers' and the director's own, for the fallback page. */
  static async create(options: LabOptions): Promise<Lab> {
    removeLeftovers();
    let lab: Lab;
    if (options.keepAs === undefined) {
      const name = `${prefix}${process.pid}-${counter++}`;
      lab = new Lab(name, mkdtempSync(join(tmpdir(), `${name}-`)), options);
      watchForTheEnd();
      open.add(lab);
    } else {
      const dir = join(tmpdir(), options.keepAs);
      mkdirSync(dir);
      lab = new Lab(options.keepAs, dir, options);
    }
    try {
      await lab.#build();
    } catch (error) {
      await lab.remove();
      throw error;
    }
    return lab;
  }

  static isKept(name: string): boolean {
    return namespacesOf(name).length > 0 || foldersOf(name).length > 0;
  }

  /** Removes a lab by the name it was kept as; false if there is none. */
  static removeKept(name: string): boolean {
    const found = Lab.isKept(name);
    removeByName(name);
    return found;
  }

  namespace(host: string): string {
    return `${this.name}-${host}`;
  }

  /** Runs a command in a host's namespace and returns how it ended. */
  async exec(host: string, command: readonly string[], timeoutMs = 300_000): Promise<CommandResult> {
    return await execute(["nsenter", `--net=/run/netns/${this.namespace(host)}`, ...command], timeoutMs);
  }

  /** As {@link exec}; a status other than 0 is an error. Returns the standard output. */
  async run(host: string, ...command: string[]): Promise<string> {
    const result = await this.exec(host, command);
    if (result.code !== 0) {
      throw new Error(`${host}: ${command.join(" ")}: exit status ${result.code}: ${result.stderr}${result.stdout}`);
    }
    return result.stdout;
  }

  /** Starts a process in a host's namespace; it ends with the lab, and with this process unless the lab is kept. */
  spawn(host: string, command: readonly string[], name = command[0] ?? ""): LabProcess {
    const logFile = join(this.dir, `${host}-${name.replace(/.*\//, "")}-${this.#processes++}.log`);
    const log = openSync(logFile, "a");
    const inNamespace = ["nsenter", `--net=/run/netns/${this.namespace(host)}`, ...command];
    const [file, ...args] = this.kept ? inNamespace : ["setpriv", "--pdeathsig", "KILL", ...inNamespace];
    assert.ok(file !== undefined);
    const child = spawn(file, args, { stdio: ["ignore", log, log], detached: true, env: environment() });
    closeSync(log);
    if (this.kept) child.unref();
    return new LabProcess(child, logFile);
  }

  /** A request by curl from the client's namespace, from one of its addresses. */
  async curl(
    target: string,
    options: { readonly from?: string; readonly timeoutS?: number; readonly args?: readonly string[] } = {},
  ): Promise<CurlResult> {
    const { from, timeoutS = 10, args = [] } = options;
    const marker = "\n--curl--";
    const result = await this.exec("client", [
      "curl",
      "--silent",
      "--show-error",
      "--globoff",
      "--noproxy",
      "*",
      "--max-time",
      String(timeoutS),
      ...(from === undefined ? [] : ["--interface", bare(from)]),
      "--write-out",
      `${marker}%{http_code} %header{x-server} %header{x-client}`,
      ...args,
      target,
    ]);
    const at = result.stdout.lastIndexOf(marker);
    const [status = "0", server = "", client = ""] = result.stdout.slice(at + marker.length).split(" ");
    return {
      status: Number(status),
      body: at < 0 ? "" : result.stdout.slice(0, at),
      server,
      client: client.trim(),
      code: result.code,
      error: result.stderr.trim(),
    };
  }

  /** The name of the host that answers a request for the virtual address; throws if none does. */
  async whoAnswers(options: { readonly from?: string; readonly target?: string; readonly timeoutS?: number } = {}) {
    const { target = url(this.virtualAddress), ...rest } = options;
    const answer = await this.curl(target, rest);
    if (answer.code !== 0) throw new Error(`${target}: ${answer.error}`);
    return answer.server;
  }

  /** The folder that a host's web server serves. */
  documentRoot(host: string): string {
    return join(this.dir, host, "www");
  }

  /** Starts a host's nginx and waits until it listens. */
  async startWebServer(host: string): Promise<void> {
    if (this.#nginx.get(host)?.running === true) return;
    const home = join(this.dir, host);
    const nginx = this.spawn(host, ["nginx", "-p", home, "-c", join(home, "nginx.conf"), "-g", "daemon off;"]);
    this.#nginx.set(host, nginx);
    await waitFor(
      `nginx of ${host} listens`,
      async () => {
        if (!nginx.running) throw new Hopeless(`nginx of ${host} ended: ${nginx.log()}`);
        return (
          (await this.exec(host, ["curl", "--silent", "--output", "/dev/null", "http://127.0.0.1:80/"])).code === 0
        );
      },
      buildDeadlineMs,
    );
  }

  /** Stops a host's nginx at once: its port refuses connections, those that are open are reset. */
  async stopWebServer(host: string): Promise<void> {
    await this.#nginx.get(host)?.end("SIGTERM");
    this.#nginx.delete(host);
  }

  /** What programs have pinned; the kernel's own two files in a bpffs are left out. */
  pinned(): string[] {
    return readdirSync(this.bpffs).filter((entry) => !entry.endsWith(".debug"));
  }

  /** Writes a file of the lab's folder and returns its path. */
  write(name: string, text: string): string {
    const path = join(this.dir, name);
    writeFileSync(path, text);
    return path;
  }

  /** Ends every process of the lab and removes its namespaces and files. */
  async remove(): Promise<void> {
    for (const nginx of this.#nginx.values()) nginx.signal("SIGKILL");
    this.removeNow();
    await Promise.all([...this.#nginx.values()].map((nginx) => nginx.exited));
  }

  /** As {@link remove}, for the last moment of a process. */
  removeNow(): void {
    if (this.#removed) return;
    this.#removed = true;
    open.delete(this);
    removeByName(this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }

  async #waitForCarrier(host: string, link: string): Promise<void> {
    await waitFor(
      `${link} of ${host} has a carrier`,
      async () => {
        const { stdout } = await this.exec(host, ["ip", "-j", "link", "show", "dev", link]);
        return stdout.includes('"operstate":"UP"');
      },
      buildDeadlineMs,
    );
  }

  async #build(): Promise<void> {
    mkdirSync(this.bpffs);
    await must(["mount", "-t", "bpf", "bpf", this.bpffs]);
    for (const host of this.hosts) await must(["ip", "netns", "add", this.namespace(host)]);
    const twoArmed = this.plan.serverSide !== undefined;
    const serverBridge = twoArmed ? "back" : "front";
    const links: readonly (readonly [host: string, link: string, bridge: string])[] = [
      ["gateway", "front", "front"],
      ["director", "front", "front"],
      ...(twoArmed
        ? ([
            ["gateway", "back", "back"],
            ["director", "back", "back"],
          ] as const)
        : []),
      ...this.servers.map((server) => [server, "eth0", serverBridge] as const),
    ];
    await this.#script("switch", [
      ...(twoArmed ? ["front", "back"] : ["front"]).map(
        (bridge) => `ip link add ${bridge} type bridge mcast_snooping 0 && ip link set ${bridge} up`,
      ),
    ]);
    for (const [host, link, bridge] of links) await this.addLink(host, link, bridge);
    await must([
      "ip",
      "link",
      "add",
      "eth0",
      "netns",
      this.namespace("client"),
      "type",
      "veth",
      "peer",
      "name",
      "clients",
      "netns",
      this.namespace("gateway"),
    ]);
    await Promise.all(
      this.hosts.map(async (host) => {
        await this.#script(host, ["ip link set lo up", ...this.#scriptOf(host)]);
      }),
    );
    // On a busy machine the kernel takes its time to see the carrier, and sends nothing before.
    await Promise.all(links.map(([host, link]) => this.#waitForCarrier(host, link)));
    await Promise.all(
      ["director", ...this.servers].map(async (host) => {
        this.#writeSite(host);
        await this.startWebServer(host);
      }),
    );
  }

  /**
   * A new leg of a host: a veth to a port `HOST-LINK` of a bridge in `switch`. The port passes frames by an XDP program, so
   * that what the host sends by XDP arrives.
   */
  async addLink(host: string, link: string, bridge: string): Promise<void> {
    const port = `${host}-${link}`;
    await must([
      "ip",
      "link",
      "add",
      link,
      "netns",
      this.namespace(host),
      "type",
      "veth",
      "peer",
      "name",
      port,
      "netns",
      this.namespace("switch"),
    ]);
    await this.#script("switch", [
      `ip link set ${port} master ${bridge}`,
      offloadsOff(port),
      ...(host === "director" ? [`ip link set dev ${port} xdpdrv obj ${passProgram} sec xdp`] : []),
      `ip link set ${port} up`,
    ]);
    await this.#script(host, [offloadsOff(link), `ip link set ${link} up`]);
  }

  async #script(host: string, lines: readonly string[]): Promise<void> {
    await must(["nsenter", `--net=/run/netns/${this.namespace(host)}`, "sh", "-ec", lines.join("\n")]);
  }

  #scriptOf(host: string): string[] {
    const each = (lines: (plan: AddressPlan) => readonly string[]): string[] => this.plans.flatMap(lines);
    const twoArmed = this.plan.serverSide !== undefined;
    switch (host) {
      case "switch":
        return [];
      case "client":
        return [
          offloadsOff("eth0"),
          "ip link set eth0 up",
          ...each((plan) => [...plan.clients.map((client) => add(client, "eth0")), defaultRoute(plan.clientGateway)]),
        ];
      case "gateway":
        return [
          set("ipv4/ip_forward", 1),
          set("ipv6/conf/all/forwarding", 1),
          // Answers come in by another leg than the virtual address's network.
          set("ipv4/conf/all/rp_filter", 0),
          ...["default", "front", ...(twoArmed ? ["back"] : [])].flatMap((link) => [
            set(`ipv4/conf/${link}/rp_filter`, 0),
            set(`ipv4/conf/${link}/send_redirects`, 0),
          ]),
          set("ipv4/conf/all/send_redirects", 0),
          offloadsOff("clients"),
          "ip link set clients up",
          ...each((plan) => [
            add(plan.clientGateway, "clients"),
            add(plan.gateway, "front"),
            ...(plan.serverSide ? [add(plan.serverSide.gateway, "back")] : []),
            // A /32 virtual address lies in no network of the gateway.
            ...plan.virtual
              .filter((address) => /\/(32|128)$/.test(address))
              .map((address) => `ip route replace ${address} dev front`),
          ]),
        ];
      case "director":
        return [
          set("ipv4/ip_forward", 0),
          ...each((plan) => [
            add(plan.director, "front"),
            ...plan.virtual.map((address) => addVirtual(address, "front")),
            ...(plan.serverSide ? [add(plan.serverSide.director, "back")] : []),
            defaultRoute(plan.gateway),
          ]),
        ];
      default: {
        const index = this.servers.indexOf(host);
        return [
          ...["all", "eth0"].flatMap((link) => [
            set(`ipv4/conf/${link}/arp_ignore`, 1),
            set(`ipv4/conf/${link}/arp_announce`, 2),
          ]),
          ...each((plan) => [
            add(plan.servers[index] ?? assert.fail(`the plan has no server ${index}`), "eth0"),
            ...plan.virtual.map((address) => add(`${bare(address)}/${isIpv6(address) ? 128 : 32}`, "lo")),
            defaultRoute(plan.serverSide?.gateway ?? plan.gateway),
          ]),
        ];
      }
    }
  }

  #writeSite(host: string): void {
    const home = join(this.dir, host);
    const www = this.documentRoot(host);
    mkdirSync(www, { recursive: true });
    const page = host === "director" ? "temporarily inaccessible" : host;
    writeFileSync(join(www, "index.html"), `${page}\n`);
    writeFileSync(join(www, "check.txt"), "webserverisworking\n");
    writeFileSync(join(www, "big"), Buffer.alloc(1 << 20, `${host} `));
    writeFileSync(
      join(home, "nginx.conf"),
      `master_process off;
user root;
pid ${home}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  default_type text/plain;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  add_header X-Server ${host} always;
  add_header X-Client $remote_addr always;
  server {
    listen 80 backlog=4096;
    listen [::]:80 backlog=4096;
    listen 8080;
    listen [::]:8080;
    root ${www};
    # /big?rate=BYTES takes its time: BYTES a second.
    location = /big { limit_rate $arg_rate; }
    # What is put there is there.
    location /upload/ { dav_methods PUT; create_full_put_path on; client_max_body_size 64m; }
  }
}
`,
    );
  }
}

function offloadsOff(link: string): string {
  // A frame that XDP forwards must carry its checksum, and be one frame.
  return `ethtool -K ${link} tx off tso off gso off >/dev/null`;
}

function set(path: string, value: number): string {
  return `echo ${value} >/proc/sys/net/${path}`;
}

function add(address: string, link: string): string {
  return `ip addr add ${address} dev ${link}${isIpv6(address) ? " nodad" : ""}`;
}

/** With IPv6 a virtual address has to be kept from being chosen as a source: real servers take it for their own. */
function addVirtual(address: string, link: string): string {
  return `${add(address, link)}${isIpv6(address) ? " preferred_lft 0" : ""}`;
}

function defaultRoute(gateway: string): string {
  return `ip ${isIpv6(gateway) ? "-6 " : ""}route add default via ${bare(gateway)}`;
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, LC_ALL: "C" };
}

/** Runs a program and returns how it ended; a program that is not there is an error. */
export async function execute(command: readonly string[], timeoutMs = 300_000): Promise<CommandResult> {
  const [file, ...args] = command;
  assert.ok(file !== undefined);
  return await new Promise((resolve, reject) => {
    execFile(
      file,
      args,
      { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: 64 << 20, env: environment() },
      (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, stdout, stderr });
        else if (typeof error.code === "number") resolve({ code: error.code, stdout, stderr });
        else if (error.killed === true) resolve({ code: -1, stdout, stderr: `${stderr}no end within ${timeoutMs} ms` });
        else reject(new Error(`${command.join(" ")}: ${error.message}`, { cause: error }));
      },
    );
  });
}

async function must(command: readonly string[]): Promise<void> {
  await promisify(execFile)(command[0] ?? "", command.slice(1), { env: environment() });
}

function namespacesOf(name: string): string[] {
  if (!existsSync("/run/netns")) return [];
  return readdirSync("/run/netns").filter((namespace) => namespace.startsWith(`${name}-`));
}

function foldersOf(name: string): string[] {
  return readdirSync(tmpdir())
    .filter((folder) => folder === name || folder.startsWith(`${name}-`))
    .map((folder) => join(tmpdir(), folder));
}

/** The processes in any of the namespaces. */
function processesIn(namespaces: readonly string[]): number[] {
  const inodes = new Set(namespaces.map((namespace) => `net:[${statSync(join("/run/netns", namespace)).ino}]`));
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        return pid !== process.pid && inodes.has(readlinkSync(`/proc/${pid}/ns/net`));
      } catch {
        // It ended in between.
        return false;
      }
    });
}

function removeByName(name: string): void {
  const namespaces = namespacesOf(name);
  // Twice: a process may have been starting another one.
  for (let round = 0; round < 2; round++) {
    for (const pid of processesIn(namespaces)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
  }
  const attempt = (...command: [string, ...string[]]): void => {
    try {
      execFileSync(command[0], command.slice(1), { stdio: "ignore", env: environment() });
    } catch {
      // Half-made labs lack some of what is removed here.
    }
  };
  for (const namespace of namespaces) attempt("ip", "netns", "delete", namespace);
  for (const folder of foldersOf(name)) {
    if (existsSync(join(folder, "bpf"))) attempt("umount", "--lazy", join(folder, "bpf"));
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Removes the labs of processes that were killed before they could do it. */
function removeLeftovers(): void {
  const pattern = new RegExp(`^(${prefix}(\\d+)-\\d+)-`);
  const places = [...(existsSync("/run/netns") ? readdirSync("/run/netns") : []), ...readdirSync(tmpdir())];
  const labs = new Map<string, number>();
  for (const place of places) {
    const [, name, pid] = pattern.exec(place) ?? [];
    if (name !== undefined) labs.set(name, Number(pid));
  }
  for (const [name, pid] of labs) {
    if (existsSync(`/proc/${pid}`)) continue;
    removeByName(name);
  }
}
