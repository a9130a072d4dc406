import { readdirSync } from "node:fs";
import { printEndpoint } from "../model/service.ts";
import { errorCode } from "./check.ts";
import type { HostNames } from "./host-names.ts";

/** How old the list of files may be, milliseconds: checks that start together look once. */
const freshMs = 50;

/** `maintenancedir`: a file named after a real server takes it out of service (ldirectord 4.12, existence only). */
export class MaintenanceDirectory {
  readonly #directory: string;
  readonly #names: HostNames;
  #files: ReadonlySet<string> = new Set();
  #namesHosts = false;
  #freshUntilMs = 0;

  /** `directory` is empty if there is none. */
  constructor(directory: string, names: HostNames) {
    this.#directory = directory;
    this.#names = names;
  }

  get path(): string {
    return this.#directory;
  }

  /** The file that takes this real server out, if there is one; `port` as configured, 0 if it was left out. */
  fileFor(address: string, port: number): string | undefined {
    if (this.#directory === "") return undefined;
    this.#refresh();
    if (this.#files.size === 0) return undefined;
    return candidates(address, port, this.#namesHosts ? this.#names.nameOf(address) : undefined).find((name) =>
      this.#files.has(name),
    );
  }

  #refresh(): void {
    const nowMs = performance.now();
    if (nowMs < this.#freshUntilMs) return;
    this.#freshUntilMs = nowMs + freshMs;
    try {
      const files = readdirSync(this.#directory);
      this.#files = new Set(files);
      // Host names are asked for only if some file may be called after one.
      this.#namesHosts = files.some((file) => /[A-Za-z]/.test(file.replace(/^\[.*\]/, "")));
    } catch (error) {
      // A directory that is not there (yet) holds no files; anything else leaves what was known in force.
      if (errorCode(error) === "ENOENT") this.#files = new Set();
    }
  }
}

/** In ldirectord's order: address, full host name, and its first label, each with the port and without. */
function candidates(address: string, port: number, hostName: string | undefined): string[] {
  const bare = address.includes(":") ? `[${address}]` : address;
  const names = [printEndpoint(address, port), bare];
  if (hostName === undefined || hostName === "") return names;
  names.push(`${hostName}:${port}`, hostName);
  const short = /^([a-z][^.]+)\./.exec(hostName)?.[1];
  if (short !== undefined) names.push(`${short}:${port}`, short);
  return names;
}
