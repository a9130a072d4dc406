import { Argument } from "commander";
import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import { readOverrides } from "../../control/overrides-file.ts";
import type { Reply, Request } from "../../control/protocol.ts";
import { describeOverride, describeSetting, overrideTarget } from "../../model/override.ts";
import type { Override } from "../../model/override.ts";
import { printIdentity, realServerKey } from "../../model/service.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { printTime } from "../print-time.ts";
import { endpoint, serviceSelector } from "../selectors.ts";
import type { ServiceSelector } from "../selectors.ts";

const timeoutMs = 10_000;

/** Registers `xlb overrides`. */
export function registerOverrides(program: Command): void {
  program
    .command("overrides")
    .description("list what was set by hand, by ipvsadm, in place of what file and checks say; or take it back")
    .addArgument(new Argument("[action]", "take back").choices(["clear"]))
    .argument("[service]", "of this service only, like tcp:192.0.2.1:80, 192.0.2.1:80 or fwm:1", serviceSelector)
    .argument("[real-server]", "of this real server of it only: address, or address and port", endpoint)
    .option("--json", "for programs: an array on standard output")
    .addHelpText(
      "after",
      `
Each stays until it is taken back: by ipvsadm, with what the file says, or by
\`xlb overrides clear\`. Reloads and restarts do not touch it.`,
    )
    .action(
      async (
        action: string | undefined,
        service: ServiceSelector | undefined,
        realServer: string | undefined,
        { json }: { readonly json?: true },
        command: Command,
      ) => {
        const { stateDir } = globalOptions(command);
        if (action === "clear") return await clear(stateDir, service, realServer);
        const list = await listOverrides(stateDir);
        await write(json === true ? `${JSON.stringify(list.map(toJson), null, 2)}\n` : printList(list));
      },
    );
}

async function clear(
  stateDir: string,
  service: ServiceSelector | undefined,
  realServer: string | undefined,
): Promise<void> {
  if (service === undefined) return await clearTargets(stateDir, undefined);
  const chosen = listOf(await send(stateDir, { kind: "overrides" })).filter(
    (each) => service(each.identity) && (realServer === undefined || isNamed(each, realServer)),
  );
  const targets = new Set(
    chosen.map((each) => (realServer === undefined ? printIdentity(each.identity) : overrideTarget(each))),
  );
  if (targets.size === 0) throw new Failure(exitCodes.failure, "none of that is set by hand");
  for (const target of targets) await clearTargets(stateDir, [target]);
}

function isNamed({ realServer }: Override, name: string): boolean {
  return realServer !== undefined && (realServer.address === name || realServerKey(realServer) === name);
}

/** As the daemon has it; without one, as it has been left for the next. */
async function listOverrides(stateDir: string): Promise<readonly Override[]> {
  try {
    return listOf(await ask(stateDir, { kind: "overrides" }, AbortSignal.timeout(timeoutMs)));
  } catch (cause) {
    if (!(cause instanceof NotRunningError)) throw cause;
    return readOverrides(stateDir, (message) => {
      throw new Failure(exitCodes.failure, message);
    });
  }
}

function listOf(reply: Reply): readonly Override[] {
  if (reply.kind === "overrides") return reply.overrides;
  throw new Failure(exitCodes.failure, reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`);
}

async function clearTargets(stateDir: string, targets: readonly string[] | undefined): Promise<void> {
  const reply = await send(stateDir, { kind: "clear-overrides", ...(targets !== undefined && { targets }) });
  if (reply.kind === "done") return await write(`${reply.message}\n`);
  throw new Failure(exitCodes.failure, reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`);
}

async function send(stateDir: string, request: Request): Promise<Reply> {
  return await ask(stateDir, request, AbortSignal.timeout(timeoutMs));
}

function toJson(override: Override): object {
  return { target: overrideTarget(override), summary: describeSetting(override), ...override };
}

function printList(list: readonly Override[]): string {
  if (list.length === 0) return "nothing is set by hand\n";
  return list.map((each) => `${describeOverride(each)}, since ${printTime(each.since)}\n`).join("");
}
