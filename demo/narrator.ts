/** Tells a story step by step: what is done, what was seen, and whether it is as promised. */
import { hrtime } from "node:process";

const colours = process.stdout.isTTY && process.stdout.hasColors();

function paint(code: number, text: string): string {
  return colours ? `\u001b[${code}m${text}\u001b[0m` : text;
}

const bold = (text: string): string => paint(1, text);
const dim = (text: string): string => paint(2, text);
const red = (text: string): string => paint(31, text);
const green = (text: string): string => paint(32, text);
const cyan = (text: string): string => paint(36, text);

export class Narrator {
  readonly #started = hrtime.bigint();
  #steps = 0;
  #failures = 0;

  title(text: string): void {
    process.stdout.write(`${bold(text)}\n`);
  }

  /** A command that a reader could type. */
  command(text: string): void {
    process.stdout.write(`   ${dim("$")} ${cyan(text)}\n`);
  }

  /** What is done now, or what was seen. */
  say(text: string): void {
    for (const line of text.trimEnd().split("\n")) process.stdout.write(`   ${line}\n`);
  }

  /** Output of a command, set apart. */
  quote(text: string): void {
    for (const line of text.trimEnd().split("\n")) process.stdout.write(`     ${dim(line)}\n`);
  }

  /** One step: it is as promised unless the body throws. The story goes on in any case. */
  async step(promise: string, body: () => Promise<string>): Promise<void> {
    const number = ++this.#steps;
    process.stdout.write(`\n${bold(`${number}. ${promise}`)}\n`);
    try {
      const seen = await body();
      process.stdout.write(`   ${bold(green("OK"))} ${seen}\n`);
    } catch (error) {
      // The demo's verdict: a step that was not seen to be true.
      this.#failures++;
      process.stdout.write(`   ${bold(red("FAILED"))} ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }

  /** The end; the exit status. */
  finish(): number {
    const seconds = Number((hrtime.bigint() - this.#started) / 1_000_000_000n);
    const verdict =
      this.#failures === 0
        ? green(`All ${this.#steps} steps were seen to be true`)
        : red(`${this.#failures} of ${this.#steps} steps FAILED`);
    process.stdout.write(`\n${bold(verdict)} in ${seconds} s.\n`);
    return this.#failures === 0 ? 0 : 1;
  }
}
