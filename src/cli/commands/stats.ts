import type { Command } from "commander";
import type { Rates } from "../../report/rates.ts";
import type { Snapshot } from "../../report/snapshot.ts";
import { globalOptions, seconds } from "../options.ts";
import type { GlobalOptions } from "../options.ts";
import { anyService } from "../selectors.ts";
import type { ServiceSelector } from "../selectors.ts";

interface StatsOptions extends GlobalOptions {
  readonly rate?: true;
  readonly interval?: number;
  readonly watch?: number | true;
  readonly exact?: true;
  readonly json?: true;
  readonly nextHops?: true;
  readonly service?: ServiceSelector;
}

/** Registers `xlb stats`. */
export function registerStats(program: Command): void {
  program
    .command("stats")
    .description("virtual services and real servers: weights, connections, packets, bytes")
    .option("--rate", "per second, over an interval")
    .option("--interval <seconds>", "length of the interval of --rate (default: 1, or that of --watch)", seconds)
    .option("--watch [seconds]", "again and again, on a terminal in place (default: every second)", seconds)
    .option("--exact", "numbers in full, not shortened with K, M, G, T")
    .option("--next-hops", "how packets get to each real server")
    .option(
      "--service <service>",
      "only this virtual service, like tcp:192.0.2.1:80 or 192.0.2.1; repeatable",
      anyService,
    )
    .option("--json", "for programs; with --watch one object a line")
    .action(async (_options: unknown, command: Command) => {
      await showStatistics({ ...command.opts<StatsOptions>(), ...globalOptions(command) });
    });
}

async function showStatistics(options: StatsOptions): Promise<void> {
  const [{ collectSnapshot }, { write }, { computeRates }, { setTimeout: pause }] = await Promise.all([
    import("../collect.ts"),
    import("../output.ts"),
    import("../../report/rates.ts"),
    import("node:timers/promises"),
  ]);
  const watch = options.watch === true ? 1 : options.watch;
  const intervalMs = 1000 * (options.interval ?? watch ?? 1);
  const interrupted = new AbortController();
  if (watch !== undefined) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
  }
  const take = async (): Promise<Snapshot> => select(await collectSnapshot(options), options.service);

  try {
    let previous: Snapshot | undefined;
    if (options.rate) {
      previous = await take();
      await pause(intervalMs, undefined, { signal: interrupted.signal });
    }
    for (;;) {
      const snapshot = await take();
      const text = await render(snapshot, previous && computeRates(previous, snapshot), options);
      await write(watch !== undefined && process.stdout.isTTY && !options.json ? inPlace(text) : text);
      if (watch === undefined) return;
      if (options.rate) previous = snapshot;
      await pause(options.rate ? intervalMs : 1000 * watch, undefined, { signal: interrupted.signal });
    }
  } catch (error) {
    // An interrupt is how --watch ends.
    if (!interrupted.signal.aborted) throw error;
  }
}

async function render(snapshot: Snapshot, rates: Rates | undefined, options: StatsOptions): Promise<string> {
  if (options.json) {
    const { renderStatisticsJson } = await import("../../report/json.ts");
    return renderStatisticsJson(snapshot, { indent: options.watch === undefined, ...(rates && { rates }) });
  }
  const { renderStatistics } = await import("../../report/table.ts");
  const text = renderStatistics(snapshot, {
    exact: options.exact === true,
    nextHops: options.nextHops === true,
    ...(rates && { rates }),
  });
  return options.watch === undefined ? text : `${snapshot.at.toISOString()}\n${text}\n`;
}

function select(snapshot: Snapshot, wanted: ServiceSelector | undefined): Snapshot {
  if (wanted === undefined) return snapshot;
  const planes = snapshot.planes.map((plane) => ({
    ...plane,
    services: plane.services.filter((entry) => wanted(entry.service.identity)),
  }));
  return { ...snapshot, planes };
}

/** Draws over the last text from the upper left corner; what the terminal has no room for is left out. */
function inPlace(text: string): string {
  // A pseudo terminal that nobody has sized says 0.
  const { rows, columns } = process.stdout;
  const lines = text
    .trimEnd()
    .split("\n")
    .slice(0, rows > 1 ? rows - 1 : undefined)
    .map((line) => `${columns > 0 ? line.slice(0, columns) : line}\x1b[K\n`);
  return `\x1b[H${lines.join("")}\x1b[J`;
}
