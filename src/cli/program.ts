import { Command } from "commander";
import { readVersion } from "../version.ts";
import { registerAdopt, registerHandback } from "./commands/adopt.ts";
import { registerCheck } from "./commands/check.ts";
import { registerConnections } from "./commands/connections.ts";
import { registerDrain, registerUndrain } from "./commands/drain.ts";
import { registerHealth } from "./commands/health.ts";
import { registerIpvsadm } from "./commands/ipvsadm.ts";
import { registerLdirectord } from "./commands/ldirectord.ts";
import { registerOverrides } from "./commands/overrides.ts";
import { registerReload } from "./commands/reload.ts";
import { registerRestart } from "./commands/restart.ts";
import { registerRun } from "./commands/run.ts";
import { registerStart } from "./commands/start.ts";
import { registerStats } from "./commands/stats.ts";
import { registerStatus } from "./commands/status.ts";
import { registerStop } from "./commands/stop.ts";
import { registerTune } from "./commands/tune.ts";
import { addGlobalOptions } from "./options.ts";

const examples = `
Examples:
  xlb check /etc/ha.d/ldirectord.cf      say all that is wrong with a configuration
  xlb run -c /etc/ha.d/ldirectord.cf     direct packets, in the foreground
  xlb start -c /etc/ha.d/ldirectord.cf   the same in the background
  xlb stats --rate --watch               services and real servers, per second, redrawn
  xlb connections --client 192.0.2.0/24  live connections of some clients
  xlb health                             what the checks say
  xlb stop --keep                        stop the daemon, go on forwarding

Exit status: 0 success, 1 failure, 2 wrong command line or configuration, 3 not running.
See also: man xlb, man xlb-COMMAND.`;

/** In the order of the help: what is tried first, what runs the director, what shows it. */
const registrations = [
  registerCheck,
  registerRun,
  registerStart,
  registerStop,
  registerRestart,
  registerReload,
  registerAdopt,
  registerHandback,
  registerStatus,
  registerStats,
  registerConnections,
  registerHealth,
  registerDrain,
  registerUndrain,
  registerOverrides,
  registerTune,
  registerLdirectord,
  registerIpvsadm,
];

/** The command table: every command, its options and its help. No command is run by this. */
export function createProgram(): Command {
  const program = new Command("xlb")
    .description("L4 load balancer: takes an ldirectord.cf and forwards by XDP in place of LVS")
    .version(readVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "xlb: ")) })
    .exitOverride()
    .addHelpText("after", examples);
  addGlobalOptions(program);
  for (const register of registrations) register(program);
  return program;
}
