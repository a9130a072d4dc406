/** The program's place on the interfaces: one pinned bpf_link each, adopted and updated by a later daemon. */
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { LinkHandle, Native, ProgramHandle } from "../../native.ts";
import type { InterfaceStatus } from "../../model/statistics.ts";

export type AttachMode = "auto" | "native" | "generic";

/** XDP_FLAGS_* of linux/if_link.h. */
const genericFlag = 2;
const nativeFlag = 4;
/** XDP_ATTACHED_* of linux/if_link.h. */
const attachedNative = 1;
const attachedGeneric = 2;

interface Attachment {
  readonly ifindex: number;
  readonly link: LinkHandle;
  readonly reason: string;
}

/** A file of a bpffs has no dot in its name, and an interface no colon. */
export function linkFileName(interfaceName: string): string {
  return interfaceName.replaceAll(".", ":");
}

export function interfaceNameOf(linkFile: string): string {
  return linkFile.replaceAll(":", ".");
}

/** What carries packets on an interface at present. */
export function attachedMode(native: Native, ifindex: number): "native" | "generic" | "detached" {
  try {
    const { mode } = native.xdpQuery(ifindex);
    return mode === attachedNative ? "native" : mode === attachedGeneric ? "generic" : "detached";
  } catch {
    // The interface has gone between two calls.
    return "detached";
  }
}

/** The links of one director. What is pinned is never detached by a restart, only by {@link Attachments.detachAll}. */
export class Attachments {
  readonly #native: Native;
  readonly #folder: string;
  readonly #mode: AttachMode;
  readonly #attached = new Map<string, Attachment>();
  /** Interfaces that could not be attached, with the reason. */
  readonly #failed = new Map<string, { readonly ifindex: number; readonly reason: string }>();

  /** `folder`: where the links are pinned. */
  constructor(native: Native, folder: string, mode: AttachMode) {
    this.#native = native;
    this.#folder = folder;
    this.#mode = mode;
    mkdirSync(folder, { recursive: true });
  }

  /**
   * Takes over what an earlier daemon has pinned and lets it run `program` from now on: no packet meets an interface
   * without a program. Returns the interfaces that are gone; their pins are removed.
   */
  adopt(program: ProgramHandle): readonly string[] {
    const gone: string[] = [];
    for (const file of readdirSync(this.#folder)) {
      const name = interfaceNameOf(file);
      const link = this.#native.linkOpenPinned(join(this.#folder, file));
      const { ifindex } = this.#native.linkInfo(link);
      if (ifindex === 0) {
        this.#native.linkClose(link);
        rmSync(join(this.#folder, file));
        gone.push(name);
        continue;
      }
      this.#native.linkUpdate(link, program);
      this.#attached.set(name, { ifindex, link, reason: this.#adoptedReason(ifindex) });
    }
    return gone;
  }

  /** Idempotent. True if it was not attached before and is now; why not is told by {@link statuses}. */
  attach(program: ProgramHandle, name: string, ifindex: number): boolean {
    const present = this.#attached.get(name);
    if (present !== undefined) {
      if (this.#native.linkInfo(present.link).ifindex === ifindex) return false;
      this.forget(name);
    }
    const modes = this.#mode === "auto" ? ([nativeFlag, genericFlag] as const) : [flagOf(this.#mode)];
    const refusals: string[] = [];
    for (const mode of modes) {
      try {
        const link = this.#native.linkAttachXdp(program, ifindex, mode);
        const path = join(this.#folder, linkFileName(name));
        try {
          this.#native.linkPin(link, path);
        } catch (cause) {
          this.#native.linkDetach(link);
          this.#native.linkClose(link);
          throw cause;
        }
        this.#attached.set(name, { ifindex, link, reason: refusals.join("; ") || this.#wish() });
        this.#failed.delete(name);
        return true;
      } catch (error) {
        refusals.push(`${mode === nativeFlag ? "native" : "generic"} mode was refused: ${messageOf(error)}`);
      }
    }
    this.#failed.set(name, { ifindex, reason: refusals.join("; ") });
    return false;
  }

  /** The interface is gone, or has come back as another one: its pin is removed. */
  forget(name: string): void {
    this.#failed.delete(name);
    const present = this.#attached.get(name);
    if (present === undefined) return;
    this.#native.linkClose(present.link);
    this.#attached.delete(name);
    rmSync(join(this.#folder, linkFileName(name)), { force: true });
  }

  /** Interfaces whose link has lost its interface, with the ifindex that it had. */
  lost(): readonly { readonly name: string; readonly ifindex: number }[] {
    return [...this.#attached]
      .filter(([, { link }]) => this.#native.linkInfo(link).ifindex === 0)
      .map(([name, { ifindex }]) => ({ name, ifindex }));
  }

  /** An interface goes by another name now; the link stays. */
  rename(name: string, newName: string): void {
    const present = this.#attached.get(name);
    if (present === undefined) return;
    this.forget(newName);
    renameSync(join(this.#folder, linkFileName(name)), join(this.#folder, linkFileName(newName)));
    this.#attached.delete(name);
    this.#attached.set(newName, present);
  }

  /** An interface that was asked for by name and cannot be had: {@link statuses} tells it. */
  fail(name: string, reason: string): void {
    this.#failed.set(name, { ifindex: 0, reason });
  }

  get names(): readonly string[] {
    return [...this.#attached.keys()];
  }

  statuses(): readonly InterfaceStatus[] {
    const attached = [...this.#attached].map(([name, { ifindex, reason }]) => {
      const mode = attachedMode(this.#native, ifindex);
      return { name, ifindex, mode, reason };
    });
    const failed = [...this.#failed].map(([name, { ifindex, reason }]) => {
      return { name, ifindex, mode: "detached" as const, reason };
    });
    return [...attached, ...failed];
  }

  /** Packets meet the stack alone from now on. */
  detachAll(): void {
    for (const name of this.names) {
      const present = this.#attached.get(name);
      if (present !== undefined && this.#native.linkInfo(present.link).ifindex !== 0) {
        this.#native.linkDetach(present.link);
      }
      this.forget(name);
    }
  }

  /** Closes the handles; the pinned links go on. */
  close(): void {
    for (const { link } of this.#attached.values()) this.#native.linkClose(link);
    this.#attached.clear();
  }

  #wish(): string {
    return this.#mode === "generic" ? "generic mode was asked for" : "";
  }

  #adoptedReason(ifindex: number): string {
    if (attachedMode(this.#native, ifindex) !== "generic") return "";
    return this.#wish() || "attached in generic mode by an earlier run, and kept";
  }
}

function flagOf(mode: "native" | "generic"): 2 | 4 {
  return mode === "native" ? nativeFlag : genericFlag;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
