import type { Command } from "commander";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import type { GlobalOptions } from "../options.ts";
import { anyService } from "../selectors.ts";
import type { ServiceSelector } from "../selectors.ts";

interface HealthOptions extends GlobalOptions {
  readonly service?: ServiceSelector;
  readonly json?: true;
}

const timeoutMs = 10_000;

/** Registers `xlb health`. */
export function registerHealth(program: Command): void {
  program
    .command("health")
    .description("what the daemon's checks say of each real server, since when and why")
    .option(
      "--service <service>",
      "only of this virtual service, like tcp:192.0.2.1:80 or 192.0.2.1; repeatable",
      anyService,
    )
    .option("--json", "for programs")
    .action(async (_options: unknown, command: Command) => {
      await showHealth({ ...command.opts<HealthOptions>(), ...globalOptions(command) });
    });
}

async function showHealth({ stateDir, service, json }: HealthOptions): Promise<void> {
  const [{ ask }, { write }] = await Promise.all([import("../../control/client.ts"), import("../output.ts")]);
  const timeout = AbortSignal.timeout(timeoutMs);
  const reply = await ask(stateDir, { kind: "health" }, timeout).catch((cause: unknown) => {
    if (timeout.aborted) throw new Failure(exitCodes.failure, "the daemon does not answer", { cause });
    throw cause;
  });
  if (reply.kind !== "health") {
    const reason = reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`;
    throw new Failure(exitCodes.failure, `the daemon does not tell its health: ${reason}`);
  }
  const health = reply.health.filter((entry) => service?.(entry.identity) ?? true);
  if (json) {
    const { renderHealthJson } = await import("../../report/json.ts");
    await write(renderHealthJson(health));
  } else {
    const { renderHealth } = await import("../../report/table.ts");
    await write(renderHealth(health, new Date()));
  }
}
