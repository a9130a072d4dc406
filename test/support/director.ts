/** The director of a lab: the daemon in its namespace, and what its commands print. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bare, Hopeless, isIpv6, projectRoot, waitFor } from "./lab.ts";
import type { AddressPlan, CommandResult, Lab, LabProcess } from "./lab.ts";

const launcher = join(projectRoot, "bin", "xlb");

/** Why the daemon cannot be tested here; false if it can. */
export function directorIsMissing(): string | false {
  for (const part of ["build/src/cli/main.js", "build/native/xlb.node", "build/bpf/director.bpf.o"]) {
    if (!existsSync(join(projectRoot, part))) return `${part} is not built`;
  }
  return false;
}

/** What `xlb stats --json` prints, as far as the labs look at it. */
export interface StatsJson {
  readonly daemon: { readonly running: boolean };
  readonly planes: readonly {
    readonly plane: string;
    readonly interfaces: readonly { readonly name: string; readonly mode: string; readonly reason: string }[];
    readonly packets: Readonly<Record<string, number>>;
    readonly services: readonly ServiceJson[];
  }[];
}

export interface ServiceJson {
  readonly key: string;
  readonly scheduler: string;
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
  readonly realServers: readonly RealServerJson[];
}

export interface RealServerJson {
  readonly key: string;
  readonly weight: number;
  readonly method: string;
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
}

export interface ConnectionJson {
  readonly service: string;
  readonly client: string;
  readonly clientPort: number;
  readonly realServer: string;
  readonly state: string;
  readonly template: boolean;
  readonly expiresIn: number;
}

export interface DirectorOptions {
  /** The text of the ldirectord.cf. */
  readonly config: string;
  /** Tells several directors of one lab apart. */
  readonly name?: string;
  readonly metricsPort?: number;
  /** More arguments of `xlb run`. */
  readonly args?: readonly string[];
  /** The daemon has to answer within this time; default 60 s. An emulated kernel takes long to verify the program. */
  readonly startDeadlineMs?: number;
  /** Where it runs; default: the lab's director. */
  readonly host?: string;
}

export class Director {
  readonly lab: Lab;
  readonly configFile: string;
  readonly stateDir: string;
  readonly bpffs: string;
  readonly metricsAddress: string;
  /** What the daemon sees as /var/log. */
  readonly logFolder: string;
  readonly host: string;
  readonly #args: readonly string[];
  readonly #startDeadlineMs: number;
  readonly #name: string;
  #process: LabProcess | undefined;

  constructor(lab: Lab, options: DirectorOptions) {
    const {
      config,
      name = "xlb",
      metricsPort = 9820,
      args = [],
      startDeadlineMs = 60_000,
      host = "director",
    } = options;
    this.lab = lab;
    this.host = host;
    this.#name = name;
    this.configFile = lab.write(`${name}.cf`, config);
    this.stateDir = join(lab.dir, `${name}-state`);
    this.bpffs = join(lab.bpffs, name);
    this.metricsAddress = `127.0.0.1:${metricsPort}`;
    this.logFolder = join(lab.dir, `${name}-log`);
    this.#args = args;
    this.#startDeadlineMs = startDeadlineMs;
    mkdirSync(this.stateDir, { recursive: true });
    mkdirSync(this.logFolder, { recursive: true });
  }

  /** Starts a director and waits until it has taken its configuration. */
  static async start(lab: Lab, options: DirectorOptions): Promise<Director> {
    const director = new Director(lab, options);
    await director.start();
    return director;
  }

  get process(): LabProcess {
    assert.ok(this.#process, "the daemon was not started");
    return this.#process;
  }

  /** Starts the daemon and waits until it answers. */
  async start(): Promise<void> {
    const daemon = this.lab.spawn(this.host, this.daemonCommand, this.#name);
    this.#process = daemon;
    await waitFor(
      "the daemon answers",
      async () => {
        if (!daemon.running) throw new Hopeless(`the daemon ended:\n${daemon.log()}`);
        return (await this.xlb("status")).code === 0;
      },
      this.#startDeadlineMs,
    );
  }

  /** The argument vector of the daemon. */
  get daemonCommand(): readonly string[] {
    return [...inOwnLogFolder(this.logFolder), ...this.command("run", "-c", this.configFile, ...this.runOptions)];
  }

  /** Options that belong to `xlb run` and `xlb start`. */
  get runOptions(): readonly string[] {
    return ["--metrics", this.metricsAddress, ...this.#args];
  }

  /** The argument vector of a command to this director. */
  command(name: string, ...args: readonly string[]): string[] {
    return [launcher, name, "--state-dir", this.stateDir, "--bpffs", this.bpffs, ...args];
  }

  async xlb(name: string, ...args: readonly string[]): Promise<CommandResult> {
    return await this.lab.exec(this.host, this.command(name, ...args));
  }

  async #json<T>(name: string, ...args: readonly string[]): Promise<T> {
    const result = await this.xlb(name, "--json", ...args);
    if (result.code !== 0) throw new Error(`xlb ${name} --json: exit status ${result.code}: ${result.stderr}`);
    // The commands' JSON is their promise; its shape is tested beside them.
    return JSON.parse(result.stdout) as T;
  }

  async stats(): Promise<StatsJson> {
    return await this.#json<StatsJson>("stats");
  }

  async connections(...args: readonly string[]): Promise<readonly ConnectionJson[]> {
    return await this.#json<readonly ConnectionJson[]>("connections", ...args);
  }

  /** A service by its key, `tcp:10.10.10.53:80`; the first if none is named. */
  async service(key?: string): Promise<ServiceJson> {
    const services = (await this.stats()).planes.flatMap((plane) => plane.services);
    const found = key === undefined ? services[0] : services.find((service) => service.key === key);
    if (!found) throw new Error(`no service ${key ?? ""} among: ${services.map((service) => service.key).join(" ")}`);
    return found;
  }

  /** Waits until the service has these real servers and weights, and no others. */
  async waitForWeights(weights: Readonly<Record<string, number>>, key?: string, deadlineMs = 60_000): Promise<void> {
    const wanted = JSON.stringify(Object.entries(weights).sort());
    await waitFor(
      `real servers are ${wanted}`,
      async () => {
        const service = await this.service(key);
        const found = JSON.stringify(service.realServers.map(({ key, weight }) => [key, weight] as const).sort());
        if (found !== wanted)
          throw new Error(`they are ${found}; the daemon says:\n${this.process.log().slice(-2000)}`);
        return true;
      },
      deadlineMs,
    );
  }

  /** The page that Prometheus would get. */
  async metrics(): Promise<string> {
    return await this.lab.run(this.host, "curl", "--silent", "--fail", `http://${this.metricsAddress}/metrics`);
  }

  /** Changes the file as an editor does: a new file takes the old one's name. */
  edit(change: (text: string) => string): void {
    const next = change(readFileSync(this.configFile, "utf8"));
    writeFileSync(`${this.configFile}.new`, next);
    renameSync(`${this.configFile}.new`, this.configFile);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.process.end("SIGKILL");
  }

  /** `xlb stop`, and the daemon's end. */
  async stop(...args: readonly string[]): Promise<void> {
    const result = await this.xlb("stop", ...args);
    assert.equal(result.code, 0, `xlb stop: ${result.stderr}`);
    await this.process.exited;
  }

  /** The interfaces of the director's namespace that have an XDP program, with its mode as iproute2 names it. */
  async attached(): Promise<Readonly<Record<string, string>>> {
    const text = await this.lab.run(this.host, "ip", "-json", "-details", "link", "show");
    const links = JSON.parse(text) as readonly { readonly ifname: string; readonly xdp?: { readonly mode: number } }[];
    const modes = ["none", "native", "generic", "offload", "multi"];
    return Object.fromEntries(
      links.flatMap(({ ifname, xdp }) => (xdp ? [[ifname, modes[xdp.mode] ?? String(xdp.mode)] as const] : [])),
    );
  }
}

/** Gives the command that follows a /var/log of its own: a configuration may name a log file there. */
function inOwnLogFolder(folder: string): string[] {
  const script = 'mount --bind "$1" /var/log; shift; exec "$@"';
  return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", folder];
}

/** A service of a configuration: `virtual=` and lines below it, every real server of the plan by `gate`. */
export function service(plan: AddressPlan, lines: readonly string[], options: ServiceOptions = {}): string {
  const { virtual = 0, port = 80, weights = [], servers = plan.servers } = options;
  const address = plan.virtual[virtual] ?? assert.fail(`the plan has no virtual address ${virtual}`);
  return [
    `virtual${isIpv6(address) ? "6" : ""}=${endpoint(address, port)}`,
    ...servers.map((server, index) => {
      const weight = weights[index];
      return `\treal${isIpv6(server) ? "6" : ""}=${endpoint(server, port)} gate${weight === undefined ? "" : ` ${weight}`}`;
    }),
    ...lines.map((line) => `\t${line}`),
    "",
  ].join("\n");
}

export interface ServiceOptions {
  /** Which of the plan's virtual addresses. */
  readonly virtual?: number;
  readonly port?: number;
  readonly weights?: readonly number[];
  readonly servers?: readonly string[];
}

/** `10.0.0.1:80`, `[fd00::1]:80`, of an address with or without prefix length. */
export function endpoint(address: string, port = 80): string {
  return isIpv6(address) ? `[${bare(address)}]:${port}` : `${bare(address)}:${port}`;
}

/** The tutorial's way to check a web server. */
export const httpCheck = [
  "service=http",
  'request="/check.txt"',
  'receive="webserverisworking"',
  "checktype=negotiate",
] as const;
