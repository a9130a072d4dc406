/** Data planes of tests: real maps and programs under a bpffs folder of their own, attached to nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { openXdpDataPlane } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { XdpDataPlane, XdpOptions } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { Network } from "../../src/dataplane/xdp/network.ts";
import type { Change } from "../../src/model/change.ts";
import type { RealServer, Scheduler, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import { loadNative } from "../../src/native.ts";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { FakeNetwork } from "./fake-network.ts";

const objectPath = join(import.meta.dirname, "..", "..", "bpf", "director.bpf.o");

/** False, or what is missing. */
export const cannotRun =
  process.getuid?.() !== 0
    ? "loading BPF programs needs root"
    : !existsSync(objectPath) && "build/bpf/director.bpf.o is missing: run `make bpf`";

/** The real server by its MAC address (macOf), or the verdict. */
export type Fate = string;

let folders = 0;

/** A folder of pins, and the planes that are opened one after the other over it. */
export class PlaneFolder {
  readonly bpffs = `/sys/fs/bpf/xlb-plane-${process.pid}-${++folders}`;
  readonly network = new FakeNetwork();
  readonly native = loadNative();
  readonly log: string[] = [];
  readonly #options: XdpOptions;
  #plane: XdpDataPlane | undefined;
  #nextClient = 0;

  constructor(options: XdpOptions = {}) {
    this.#options = { tableSlots: 2 ** 14, ringMembers: 2 ** 16, treeNodes: 2 ** 14, ...options };
    after(() => this.plane.destroy());
  }

  get plane(): XdpDataPlane {
    if (this.#plane === undefined) throw new Error("open() comes first");
    return this.#plane;
  }

  /** As a daemon does at its start; an earlier one is as dead as after kill -9. */
  async open(network: Network = this.network): Promise<XdpDataPlane> {
    this.#plane?.close();
    const write = (message: string) => void this.log.push(message);
    const log = { info: write, warn: write, error: write };
    this.#plane = await openXdpDataPlane(
      { bpffs: this.bpffs, ...this.#options },
      { native: this.native, network, log },
    );
    return this.#plane;
  }

  async apply(...changes: readonly Change[]): Promise<void> {
    for (const { error } of await this.plane.apply(changes)) if (error !== undefined) throw error;
  }

  /** What becomes of a frame that comes in now. */
  send(spec: FrameSpec): Fate {
    const director = this.native.programOpenPinned(join(this.bpffs, "director"));
    const { verdict, data } = this.native.programTestRun(director, frame(spec), 1, 1);
    this.native.programClose(director);
    if (verdict !== 3) return `verdict ${verdict}`;
    return [...data.subarray(2, 6)].join(".");
  }

  /** A SYN of a client that was not seen before. */
  connect(spec: FrameSpec = {}): Fate {
    const client = ++this.#nextClient;
    const sourcePort = 1024 + (client % 60000);
    return this.send({ source: `192.0.2.${1 + Math.floor(client / 60000)}`, sourcePort, flags: "S", ...spec });
  }
}

export const web: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 80 };

export function service(
  scheduler: Scheduler,
  identity: ServiceIdentity = web,
  more: Partial<VirtualService> = {},
): VirtualService {
  return { identity, scheduler, schedulerFlags: [], onePacket: false, realServers: [], ...more };
}

export function real(address: string, weight = 1, port = 80): RealServer {
  return { address, port, method: "gate", weight, upperThreshold: 0, lowerThreshold: 0 };
}

export const add = (realServer: RealServer, identity: ServiceIdentity = web): Change => ({
  kind: "add-real-server",
  identity,
  realServer,
});
export const edit = (realServer: RealServer, identity: ServiceIdentity = web): Change => ({
  kind: "edit-real-server",
  identity,
  realServer,
});
export const remove = (address: string, identity: ServiceIdentity = web, port = 80): Change => ({
  kind: "remove-real-server",
  identity,
  address,
  port,
});
export const addService = (wanted: VirtualService): Change => ({ kind: "add-service", service: wanted });
export const editService = (wanted: VirtualService): Change => ({ kind: "edit-service", service: wanted });
export const removeService = (identity: ServiceIdentity = web): Change => ({ kind: "remove-service", identity });
