/** A director of a lab without a daemon: the data plane alone, told by the test what to do. See bare-plane.ts. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Change } from "../../src/model/change.ts";
import type { Lab } from "./lab.ts";

const script = fileURLToPath(new URL("bare-plane.js", import.meta.url));

export class BareDirector {
  readonly bpffs: string;
  readonly #logFile: string;
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  /** In the namespace of `host`, the director's unless another is named. It ends with the lab. */
  constructor(lab: Lab, host = "director") {
    this.bpffs = join(lab.bpffs, `bare-${host}`);
    this.#logFile = join(lab.dir, `director-bare-${host}.log`);
    const log = openSync(this.#logFile, "a");
    const inside = ["nsenter", `--net=/run/netns/${lab.namespace(host)}`, process.execPath, script, this.bpffs];
    this.#process = spawn("setpriv", ["--pdeathsig", "KILL", ...inside], { stdio: ["pipe", "pipe", log] });
    closeSync(log);
    assert.ok(this.#process.stdout);
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Applies the changes as one batch. */
  async apply(...changes: readonly Change[]): Promise<void> {
    this.#process.stdin?.write(`${JSON.stringify(changes)}\n`);
    const { value } = await this.#answers.next();
    assert.equal(value, "applied", readFileSync(this.#logFile, "utf8").slice(-4000));
  }

  /** Takes the services away and the program off the interfaces. */
  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin?.end();
    await ended;
  }
}
