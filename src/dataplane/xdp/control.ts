/** Asking the program itself: what only it may change, because packets change it, too. */
import { setTimeout as sleep } from "node:timers/promises";
import { getSystemErrorName } from "node:util";
import type { Native, ProgramHandle } from "../../native.ts";
import { connectionImport, controlOperation, controlRequest, importFlag, importResult } from "./layout.generated.ts";
import type { ConnectionImport, Service, ServiceSlot } from "./layout.generated.ts";

const noSlot: ServiceSlot = { address: [0, 0, 0, 0], port: 0, protocol: 0, kind: 0, service: 0 };

/** The part of a service's record that says where its tree lies; `scheduler` is one of the generated enum. */
export type Tree = Pick<Service, "tree" | "tree_leaves" | "scheduler" | "flags">;

const noTree: Tree = { tree: 0, tree_leaves: 0, scheduler: 0, flags: 0 };

/** The kernel takes a timer's memory without waiting (bpf_timer_init), and may be out of it under load. */
const timerTries = 50;
const timerPauseMs = 20;

/** A connection that another data plane had; `state` is one of the generated enum, `real_server` an id. */
export type Import = Omit<ConnectionImport, "result">;

/** Each call runs the control program once and throws if it refuses. */
export class Control {
  readonly #native: Native;
  readonly #program: ProgramHandle;

  constructor(native: Native, program: ProgramHandle) {
    this.#native = native;
    this.#program = program;
  }

  /** Arms the sweep's timer with this program's callback. The kernel's memory for it may be short for a moment. */
  async startSweep(): Promise<void> {
    for (let tries = 1; !this.#run("CONTROL_START_SWEEP", 0, noSlot, noTree, "ENOMEM"); tries++) {
      if (tries === timerTries) throw new Error("the kernel has no memory for the timer of the sweep");
      await sleep(timerPauseMs);
    }
  }

  /** Inserts or replaces. */
  putService(slot: ServiceSlot): void {
    this.#run("CONTROL_PUT_SERVICE", 0, slot);
  }

  /** Removing one that is not there is no error. */
  deleteService(slot: ServiceSlot): void {
    this.#run("CONTROL_DELETE_SERVICE", 0, slot, noTree, "ENOENT");
  }

  /** To a table where this program finds them, from that of an older one. `size`: of the latter. */
  moveServices(size: number): void {
    this.#run("CONTROL_MOVE_SERVICES", size, noSlot);
  }

  /** After leaves or weights have changed: fills the nodes of a tree; `service` is an id. */
  buildTree(service: number, tree: Tree): void {
    this.#run("CONTROL_BUILD_TREE", service, noSlot, tree);
  }

  /** A real server's id is free for another one. False if packets were about to change what is known of it: later. */
  forget(realServer: number): boolean {
    return this.#run("CONTROL_FORGET", realServer, noSlot, noTree, "EBUSY");
  }

  /**
   * Opens slots as packets would have, `MAX_IMPORTS` of director.h at most. `replace`: one that is there already becomes as
   * given. Returns for each one of the generated `importResult`.
   */
  importConnections(imports: readonly Import[], replace: boolean): number[] {
    const { size } = connectionImport;
    const bytes = new Uint8Array(controlRequest.size + imports.length * size);
    const view = new DataView(bytes.buffer);
    controlRequest.write(view, 0, {
      operation: controlOperation.CONTROL_IMPORT,
      index: imports.length,
      slot: noSlot,
      ...noTree,
      flags: replace ? importFlag.IMPORT_REPLACE : 0,
      result: 0,
    });
    for (const [index, each] of imports.entries()) {
      connectionImport.write(view, controlRequest.size + index * size, {
        ...each,
        result: importResult.IMPORT_NONE,
      });
    }
    const { data } = this.#native.programTestRun(this.#program, bytes, 1, 0);
    const resultAt = controlRequest.size + connectionImport.fields.result.offset;
    return imports.map((_, index) => data[resultAt + index * size] ?? importResult.IMPORT_NONE);
  }

  /** One whole pass over the connection table. */
  sweep(): void {
    this.#run("CONTROL_SWEEP", 0, noSlot);
  }

  /** Whether it did it; false: it answered with what was expected. */
  #run(
    operation: keyof typeof controlOperation,
    index: number,
    slot: ServiceSlot,
    tree: Tree = noTree,
    expected?: string,
  ): boolean {
    const request = controlRequest.encode({ operation: controlOperation[operation], index, slot, ...tree, result: 0 });
    const { data } = this.#native.programTestRun(this.#program, request, 1, 0);
    const { result } = controlRequest.decode(data);
    if (result === 0) return true;
    const code = getSystemErrorName(result);
    if (code !== expected) throw new Error(`the director's control program answered ${operation} with ${code}`);
    return false;
  }
}
