/**
 * man/*.1 from the command definitions and the prose below: `node build/scripts/generate-man.js [--check]`.
 * With --check nothing is written; the exit status is 1 when a page differs from what it should be.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Command } from "commander";
import type { Argument, Option } from "commander";
import { addDaemonOptions } from "../src/cli/daemon-options.ts";
import { createProgram } from "../src/cli/program.ts";
import { readVersion } from "../src/version.ts";

interface Example {
  readonly command: string;
  readonly explanation: string;
}

/** What a page says beyond the command's own definition. `**word**` is bold. */
interface Prose {
  readonly description: readonly string[];
  readonly examples: readonly Example[];
  readonly files?: readonly (readonly [file: string, meaning: string])[];
  /** In place of what every command's exit status means. */
  readonly exitStatus?: readonly (readonly [code: string, meaning: string])[];
  readonly environment?: readonly (readonly [variable: string, meaning: string])[];
}

/** Of the last change to what the pages say. */
const date = "2026-11-22";

const socket = ["/run/xlb/xlb.sock", "The daemon's control socket, in the directory of **--state-dir**."] as const;
const pins = ["/sys/fs/bpf/xlb", "The pinned program, links and maps, the directory of **--bpffs**."] as const;
const configuration = ["/etc/ha.d/ldirectord.cf", "Where ldirectord's configuration usually is."] as const;
/** All variables that options of a daemon come from. */
const daemonVariables = addDaemonOptions(new Command()).options.flatMap(({ envVar }) => envVar ?? []);

const defaults = ["/etc/default/xlb", "Lines **XLB_...=value** for what is not set in the environment."] as const;

const overview: Prose = {
  description: [
    "xlb is a director: it takes the packets that clients send to virtual services and forwards them to real servers. " +
      "It reads the ldirectord.cf of an LVS cluster unchanged, checks the real servers as ldirectord does, and forwards " +
      "by an XDP program in place of the kernel's IPVS.",
    "The packets' way needs no daemon. The program and its maps are pinned in a bpf filesystem; when the daemon is " +
      "killed, connections are still scheduled, counted and expired, and the next daemon takes over what it finds. Only " +
      "the health checks rest meanwhile. **xlb stats** and **xlb connections** read the pinned maps and work in that " +
      "time too; **xlb health** and **xlb status** ask the daemon.",
    "Several directors can live on one machine, each with a **--state-dir** and a **--bpffs** of its own.",
  ],
  files: [configuration, socket, pins, defaults],
  environment: [
    ["XLB_STATE_DIR, XLB_BPFFS", "What **--state-dir** and **--bpffs** say otherwise."],
    [
      daemonVariables.join(", "),
      "The same for the options of **xlb run**. Names of several interfaces, and several settings, stand between blanks.",
    ],
    ["XLB_DEBUG", "When set, an unforeseen error is printed with its stack."],
  ],
  examples: [
    { command: "xlb check /etc/ha.d/ldirectord.cf", explanation: "Say all that is wrong with a configuration." },
    { command: "xlb start -c /etc/ha.d/ldirectord.cf", explanation: "Direct packets." },
    { command: "xlb stats --rate --watch", explanation: "See what goes on, per second." },
    { command: "xlb stop", explanation: "Stop forwarding and remove everything that was pinned." },
  ],
};

const commandProse: Readonly<Record<string, Prose>> = {
  run: {
    description: [
      "Runs the director in the foreground until SIGTERM or SIGINT. Checks the real servers, keeps weights and next hops " +
        "up to date, and takes the file again on SIGHUP, on **xlb reload**, and by itself with autoreload=yes. A file " +
        "with an error changes nothing.",
      "SIGUSR1 opens the log file again, for log rotation. SIGTERM and SIGINT stop as **xlb stop** does.",
      "A director that is pinned already, because an earlier daemon was killed or stopped with **--keep**, is taken " +
        "over with its connections.",
    ],
    files: [configuration, socket, pins],
    examples: [
      { command: "xlb run -c /etc/ha.d/ldirectord.cf", explanation: "As a supervisor such as systemd runs it." },
      {
        command: "xlb --state-dir /run/xlb-test --bpffs /sys/fs/bpf/xlb-test run -c test.cf --metrics 127.0.0.1:9821",
        explanation: "A second director on the same machine.",
      },
    ],
  },
  start: {
    description: [
      "Starts the daemon in the background and returns when it directs packets, or when it is known why it does not. " +
        "That a daemon is running already is a failure.",
    ],
    files: [configuration, socket, pins],
    examples: [{ command: "xlb start -c /etc/ha.d/ldirectord.cf", explanation: "Direct packets." }],
  },
  stop: {
    description: [
      "Stops the daemon and returns when it has ended. Then the program is detached and its maps are removed, so " +
        "that all connections end. With **--keep** only the daemon ends, and what is pinned goes on forwarding; so it " +
        "does for services with cleanstop=no.",
      "After a daemon has died, **xlb stop** cleans up what it left. When nothing runs, that is success.",
    ],
    files: [socket, pins],
    examples: [
      { command: "xlb stop", explanation: "Stop everything." },
      { command: "xlb stop --keep", explanation: "Before an upgrade: connections go on." },
    ],
  },
  restart: {
    description: [
      "Stops the daemon and starts another one, with the options of the last one where none are given. Packets flow " +
        "meanwhile: the new daemon takes the pinned maps over, and the program is replaced in place, so that an upgrade " +
        "loses no connection. When none runs, one is started.",
    ],
    files: [configuration, socket, pins],
    examples: [{ command: "xlb restart", explanation: "After an upgrade." }],
  },
  reload: {
    description: [
      "Has the daemon read its configuration again, and returns when the new one is in force. A file with an error " +
        "changes nothing; what is wrong with it is printed. Connections to real servers that stay go on.",
    ],
    files: [socket],
    examples: [{ command: "xlb reload", explanation: "Take an edited file." }],
  },
  status: {
    description: [
      "Tells whether the daemon is running, since when, with which configuration, how the last reload went, which " +
        "services no plane serves, and how late the checks are.",
    ],
    files: [socket],
    exitStatus: [
      ["0", "The daemon is running."],
      ["1", "It died, or it does not answer."],
      ["2", "The command line is wrong."],
      ["3", "It is not running."],
    ],
    examples: [
      { command: "xlb status", explanation: "For people." },
      { command: "xlb status --json | jq .lastReload.ok", explanation: "For programs." },
    ],
  },
  check: {
    description: [
      "Reads a configuration as the daemon would and prints all that is wrong or doubtful in it at once to standard " +
        "error, a line each: **file:line:column: error|warning: message**. Warnings also say where ldirectord's code " +
        "differs from its manual; the code is what counts. The last line, on standard output, sums up.",
      "Host and service names are resolved, so the answer is that of this machine.",
      "With **--print** standard output is an ldirectord.cf that means the same, with every default written out, ranges " +
        "and names as addresses. Services and real servers that IPVS would refuse are left out; a warning names each.",
    ],
    files: [configuration],
    examples: [
      { command: "xlb check /etc/ha.d/ldirectord.cf", explanation: "The exit status is 2 if there is an error." },
      { command: "xlb check --print /etc/ha.d/ldirectord.cf", explanation: "See what is in force for each service." },
    ],
  },
  stats: {
    description: [
      "Lists virtual services and real servers in the form of **ipvsadm -L -n**: forwarding method, weight, active " +
        "(established) and inactive (all other) connections, then totals of connections, packets and bytes from " +
        "clients. Bytes are those of IP. Above: the daemon, the mode of each interface, the use of the connection " +
        "table, and packets that were dropped, each with its one reason.",
      "Reads the pinned maps: it works while the daemon is dead, and says so. Numbers of 100 million and more are " +
        "shortened with K, M, G and T as by ipvsadm, unless **--exact**. With **--rate** the totals are replaced by " +
        "connections, packets and bytes per second (CPS, PPS, BPS), rounded up.",
      "In JSON, totals are numbers; above 2^53 they are rounded to the nearest double.",
      "**--watch** ends with SIGINT or SIGTERM. When standard output is not a terminal, each round is appended.",
    ],
    files: [socket, pins],
    examples: [
      { command: "xlb stats", explanation: "Totals." },
      { command: "xlb stats --rate --interval 10", explanation: "Averages over ten seconds." },
      {
        command: "xlb stats --watch 2 --service 192.0.2.1",
        explanation: "Services of one address, every two seconds.",
      },
      {
        command: "xlb stats --json | jq '.planes[].services[] | {key, active}'",
        explanation: "For programs.",
      },
    ],
  },
  connections: {
    description: [
      "Lists the connection table in the form of **ipvsadm -L -c -n**: protocol, time until the entry expires if nothing " +
        "more comes (minutes:seconds), state, client, virtual service and real server. Persistence templates have the state " +
        "NONE and client port 0. The order is that of the table; sort(1) helps.",
      "Reads the pinned maps: it works while the daemon is dead. A table with millions of entries is printed as it " +
        "is read. All filters given must hold.",
    ],
    files: [pins],
    examples: [
      { command: "xlb connections --client 192.0.2.0/24", explanation: "Of the clients of one network." },
      {
        command: "xlb connections --real-server 10.0.0.2 --state ESTABLISHED --count",
        explanation: "How many would be cut if that server went now.",
      },
      { command: "xlb connections --templates", explanation: "Which client network is bound to which real server." },
    ],
  },
  health: {
    description: [
      "Lists each checked real server with its check, its state and since when, failures since it last passed and " +
        "how many take it down, and the last result: when, how long it took, and what was found. Asks the daemon.",
    ],
    files: [socket],
    examples: [
      { command: "xlb health", explanation: "All real servers." },
      {
        command: `xlb health --json | jq '.[] | select(.health.state == "down")'`,
        explanation: "Those that are down.",
      },
    ],
  },
  adopt: {
    description: [
      "Takes a live director over from the kernel's IPVS: virtual services, real servers, and every connection and " +
        "persistence template, each with its state, its real server and what is left of its time. Clients notice " +
        "nothing. It is also the way back after **xlb handback**.",
      "The order of steps keeps packets meeting their connection: services and connections are in XDP's tables first, " +
        "then XDP is attached, what was opened meanwhile follows, and last the services leave the kernel's table, so that " +
        "the two never serve the same one. What stays with the kernel, because XDP does not see firewall marks or the " +
        "configuration does not have it, is told. Timeouts set by **ipvsadm --set** go along. A move that takes long " +
        "says how far it is.",
      "**xlb start** does the same to services of its configuration that it finds in the kernel's table; this command " +
        "says beforehand what it would do, looks for an ldirectord that is still there, and leaves everything as it was " +
        "if XDP cannot be had.",
    ],
    files: [configuration, socket, pins, ["/proc/net/ip_vs_conn", "The kernel's connections."]],
    examples: [
      { command: "xlb adopt --dry-run", explanation: "What would be moved, and what would stay." },
      {
        command: "xlb adopt -c /etc/ha.d/ldirectord.cf",
        explanation: "Take over from the kernel, and direct by XDP from now on.",
      },
    ],
  },
  handback: {
    description: [
      "Gives everything back to the kernel's IPVS: services, real servers, and every connection and persistence " +
        "template. XDP lets new connections through to the kernel first, hands over its own, and is detached last. The " +
        "kernel takes connections by its synchronisation: its backup daemon listens on the loopback interface for as " +
        "long as that takes, or the one that runs is used; nothing leaves the machine.",
      "The daemon goes on, with the kernel's IPVS as its plane. A connection keeps what is left of its time; a template " +
        "begins its time anew.",
    ],
    files: [socket, pins],
    examples: [
      { command: "xlb handback --dry-run", explanation: "What would be moved." },
      { command: "xlb handback", explanation: "The kernel forwards, xlb still checks the real servers." },
      { command: "xlb handback --stop", explanation: "The kernel forwards alone; ldirectord may be started." },
    ],
  },
  drain: {
    description: [
      "Takes a real server out of service wherever it is one: it gets no new connections, and those that it has go on. " +
        "With **--deadline** it is taken away when that is over, and each client that is left gets a reset with its " +
        "next segment. Meanwhile the fallback serves a service that has no other real server.",
      "It lasts over reloads and restarts of the daemon, until **xlb undrain**.",
    ],
    files: [socket],
    examples: [
      { command: "xlb drain 192.168.200.102", explanation: "No new connections to any port of it." },
      {
        command: "xlb drain 192.168.200.102:80 --deadline 600",
        explanation: "Port 80 only, and in ten minutes it is over.",
      },
    ],
  },
  undrain: {
    description: ["Puts a real server back into service that **xlb drain** has taken out."],
    files: [socket],
    examples: [{ command: "xlb undrain 192.168.200.102", explanation: "It serves again, if its checks are good." }],
  },
  tune: {
    description: [
      "Shows the settings of the data path, or changes those that are given; packets meet a change at once. Settings " +
        "lie in the pinned maps: they outlive the daemon and last until the director is stopped. Most are named as " +
        "the kernel's sysctls **net.ipv4.vs.***, and the operator's guide says how they differ.",
      "What belongs to single virtual services (**idle_timeout**, **new_per_second**, **new_per_source**) is given to " +
        "the daemon with **--set**.",
    ],
    files: [pins],
    examples: [
      { command: "xlb tune", explanation: "All settings." },
      { command: "xlb tune timeout_tcp=7200", explanation: "Established connections may rest for two hours." },
      {
        command: "xlb restart --set new_per_source=100",
        explanation: "No source may open more than 100 connections a second to a service.",
      },
    ],
  },
  ldirectord: {
    description: [
      "Takes ldirectord's command line in ldirectord's place: **[-d] [--] [CONFIG] COMMAND**, where the command is " +
        "start, stop, restart, try-restart, reload, force-reload or status. A link named ldirectord to xlb does the " +
        "same, so that init scripts and cluster agents work unchanged.",
      "CONFIG is looked for in /etc/ha.d, then in /etc/ha.d/conf, and then as a path; without it ldirectord.cf is. " +
        "With **supervised=yes** in it, or **-d**, the daemon stays in the foreground and has no pid file.",
      "**start** returns when packets are directed, **stop** when the daemon is gone. **restart** leaves packets " +
        "flowing. **reload** returns when the file is in force. While a daemon runs, **stop** and **status** do their " +
        "work even if the file has an error; every other command prints all errors and exits with 2.",
      "The daemon is one as **xlb start** starts it: **xlb stats**, **xlb health** and the others show it.",
    ],
    files: [
      configuration,
      ["/var/run/ldirectord.CONFIG.pid", "The pid; CONFIG is the last part of the path, **ldirectord** if left out."],
      defaults,
      socket,
      pins,
    ],
    environment: [
      [
        ["XLB_STATE_DIR", "XLB_BPFFS", ...daemonVariables].join(", "),
        "The options of **xlb run**; two daemons need at least the first three to differ.",
      ],
    ],
    exitStatus: [
      ["0", "Success. status: it runs."],
      ["1", "It was tried and failed. status: it died. reload: it does not run."],
      ["2", "The configuration has an error."],
      ["3", "status: it does not run."],
      ["255", "The command line is wrong."],
    ],
    examples: [
      { command: "xlb ldirectord ldirectord.cf start", explanation: "As a heartbeat resource script calls it." },
      { command: "xlb ldirectord ldirectord.cf status", explanation: "Also says whether the file is good." },
      {
        command: "ln -s /usr/local/lib/xlb/bin/ldirectord /usr/sbin/ldirectord",
        explanation: "Take ldirectord's place for the scripts that call it by its path.",
      },
    ],
  },
  overrides: {
    description: [
      "Lists what was set by hand in place of what the configuration and the checks ask for: weights and other settings, " +
        "real servers and services that were added or removed by **xlb ipvsadm**, each with its owner and since when. " +
        "Without a daemon it lists what is kept for the next one.",
      "**xlb overrides clear** takes it back: all of it, of one service, or of one of its real servers. What the file " +
        "and the checks ask for is then in force. What was added by hand is removed.",
      "A weight above 0 that was set by hand counts while the checks of the real server pass; weight 0 holds in any case. " +
        "What is set while the checks fail counts until they have passed once.",
    ],
    files: [socket, ["/run/xlb/overrides.json", "What is set by hand, in the directory of **--state-dir**."]],
    examples: [
      { command: "xlb overrides", explanation: "Who has set what." },
      { command: "xlb overrides clear tcp:10.10.10.53:80", explanation: "Of one service the file's word again." },
    ],
  },
  ipvsadm: {
    description: [
      "Takes ipvsadm's command line in ipvsadm's place: every command and option of ipvsadm 1.31, with its output, its " +
        "messages and its exit status, so that scripts and monitoring work unchanged. **xlb ipvsadm -h** prints them " +
        "all, and ipvsadm(8) explains them. A link named ipvsadm to xlb does the same.",
      "Like the original it needs no daemon: it acts on the data plane of the network namespace it runs in, and " +
        "without arguments lists the table, with names. The first change loads and attaches the XDP program as **xlb run** " +
        "would, and a daemon that is started later adopts it. Beside a daemon a change is an override, which stays until " +
        "it is taken back: see **xlb overrides**.",
    ],
    files: [
      defaults,
      ["/etc/services", "Names of ports, which lists have unless **-n** is given."],
      ["/proc/net/ip_vs_conn", "The kernel's connections, as **-L -c** lists them."],
    ],
    environment: [
      ["XLB_STATE_DIR, XLB_BPFFS", "Where the director's files and pins are, as for every command of xlb."],
      [
        "XLB_PLANE, XLB_INTERFACES, XLB_TABLE_SIZE",
        "As **--plane**, **--interface** and **--table-size** of **xlb run**.",
      ],
      ["POSIXLY_CORRECT", "If set, options end at the first word that is none."],
    ],
    exitStatus: [
      ["0", "Success. With **-R**: of the last line."],
      ["1", "A list cannot be had."],
      ["2", "The command line is wrong, or there is no table: no kernel has it, or this is not root."],
      ["255", "The data plane refuses, there is no command, or an option is not one of ipvsadm's."],
    ],
    examples: [
      { command: "xlb ipvsadm -L -n", explanation: "Virtual services and real servers." },
      { command: "xlb ipvsadm -L -n --stats --exact", explanation: "Counters, for a program that reads them." },
      { command: "xlb ipvsadm -S -n > rules && xlb ipvsadm -R < rules", explanation: "Save, and restore." },
      {
        command: "ln -s /usr/local/lib/xlb/bin/ipvsadm /usr/local/sbin/ipvsadm",
        explanation: "Take ipvsadm's place for those who look for it along PATH.",
      },
    ],
  },
};

const exitStatus: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "Success; also when the reader of the output goes away early, as with head(1)."],
  ["1", "It was tried and failed."],
  ["2", "The command line or the configuration file is wrong."],
  ["3", "No daemon answers, or nothing is pinned."],
];

/** Every page by its file name. Throws when a command lacks its prose, or prose its command. */
export function manPages(program: Command, version: string): ReadonlyMap<string, string> {
  const pages = new Map([["xlb.1", page(program, undefined, overview, version)]]);
  const missing = new Set(Object.keys(commandProse));
  for (const command of program.commands) {
    const prose = commandProse[command.name()];
    if (prose === undefined) throw new Error(`scripts/generate-man.ts has no prose for xlb ${command.name()}`);
    missing.delete(command.name());
    pages.set(`xlb-${command.name()}.1`, page(program, command, prose, version));
  }
  if (missing.size > 0) throw new Error(`no command for the prose of ${[...missing].join(", ")}`);
  return pages;
}

function page(program: Command, command: Command | undefined, prose: Prose, version: string): string {
  const name = command === undefined ? "xlb" : `xlb-${command.name()}`;
  const others = program.commands.filter((other) => other !== command);
  const lines = [
    '.\\" Made by scripts/generate-man.ts; do not edit.',
    `.TH ${name.toUpperCase().replaceAll("-", "\\-")} 1 "${date}" "xlb ${version}" "xlb manual"`,
    ".SH NAME",
    `${name.replaceAll("-", "\\-")} \\- ${text((command ?? program).description())}`,
    ".SH SYNOPSIS",
    ...synopsis(command),
    ".SH DESCRIPTION",
    ...paragraphs(prose.description),
  ];
  if (command === undefined) {
    lines.push(".SH COMMANDS");
    for (const each of program.commands) lines.push(".TP", `.BR xlb\\-${each.name()} (1)`, line(each.description()));
  } else {
    const own = command.options.filter((option) => !option.hidden);
    if (own.length > 0) lines.push(".SH OPTIONS", ...own.flatMap(optionLines));
  }
  lines.push(command === undefined ? ".SH OPTIONS" : ".SH COMMON OPTIONS");
  lines.push(
    ...program.options.filter((option) => command === undefined || option.long !== "--version").flatMap(optionLines),
  );
  lines.push(".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "print the help");
  lines.push(
    ".SH EXIT STATUS",
    ...(prose.exitStatus ?? exitStatus).flatMap(([code, meaning]) => [".TP", `.B ${code}`, line(meaning)]),
  );
  if (prose.environment) lines.push(".SH ENVIRONMENT", ...definitions(prose.environment));
  if (prose.files) lines.push(".SH FILES", ...definitions(prose.files));
  lines.push(".SH EXAMPLES");
  for (const [index, { command: example, explanation }] of prose.examples.entries()) {
    lines.push(...(index === 0 ? [] : [".PP"]), line(explanation), ".PP", ".RS 4", ".EX", line(example), ".EE", ".RE");
  }
  const references = [...(command === undefined ? [] : ["xlb"]), ...others.map((other) => `xlb\\-${other.name()}`)];
  lines.push(".SH SEE ALSO", references.map((reference) => `.BR ${reference} (1)`).join(" ,\n"));
  return `${lines.join("\n")}\n`;
}

function synopsis(command: Command | undefined): string[] {
  if (command === undefined) return [".B xlb", "[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]"];
  const parts = [
    ...command.options.filter((option) => !option.hidden).map((option) => synopsisOption(option)),
    ...command.registeredArguments.map(synopsisArgument),
  ];
  return [`.B xlb ${command.name()}`, ...parts];
}

function synopsisOption(option: Option): string {
  const flag = `\\fB${dashes(option.long ?? option.short ?? "")}\\fR${placeholder(option)}`;
  return option.mandatory ? flag : `[${flag}]`;
}

function synopsisArgument(argument: Argument): string {
  const name = `\\fI${text(argument.name())}\\fR`;
  return argument.required ? name : `[${name}]`;
}

function optionLines(option: Option): string[] {
  const flags = [option.short, option.long]
    .filter((flag) => flag !== undefined)
    .map((flag) => `\\fB${dashes(flag)}\\fR`);
  const fallback = option.defaultValue as unknown;
  const shown =
    option.defaultValueDescription ??
    (typeof fallback === "string" || typeof fallback === "number" ? `${fallback}` : "");
  const suffix = shown === "" || option.negate ? "" : ` (default: ${shown})`;
  const choices = option.argChoices === undefined ? "" : `; one of ${option.argChoices.join(", ")}`;
  return [".TP", `${flags.join(", ")}${placeholder(option)}`, line(`${option.description}${choices}${suffix}`)];
}

/** ` \fIDIR\fR` of `--state-dir <dir>`. */
function placeholder(option: Option): string {
  const [, required, optional] = /(?:<(.+)>|\[(.+)\])$/.exec(option.flags) ?? [];
  if (required !== undefined) return ` \\fI${text(required)}\\fR`;
  return optional === undefined ? "" : ` [\\fI${text(optional)}\\fR]`;
}

function definitions(entries: readonly (readonly [string, string])[]): string[] {
  return entries.flatMap(([term, meaning]) => [".TP", `.I ${text(term)}`, line(meaning)]);
}

function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((paragraph, index) => [...(index === 0 ? [] : [".PP"]), line(paragraph)]);
}

/** A line of running text: not taken for a request, `**bold**` set. */
function line(source: string): string {
  const formatted = text(source).replace(/\*\*(.+?)\*\*/g, (_, bold: string) => `\\fB${bold}\\fR`);
  return /^[.']/.test(formatted) ? `\\&${formatted}` : formatted;
}

function text(source: string): string {
  return dashes(source.replaceAll("\\", "\\e"))
    .replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti")
    .replaceAll("'", "\\(aq");
}

/** Hyphens that can be copied to a shell. */
function dashes(source: string): string {
  return source.replaceAll("-", "\\-");
}

function main(check: boolean): void {
  const directory = join(import.meta.dirname, "../../man");
  const pages = manPages(createProgram(), readVersion());
  const found = readdirSync(directory).filter((file) => file.endsWith(".1"));
  const stale = found.filter((file) => !pages.has(file));
  const differing = [...pages].filter(
    ([file, content]) => !found.includes(file) || readFileSync(join(directory, file), "utf8") !== content,
  );
  if (check) {
    const names = [...stale, ...differing.map(([file]) => file)];
    if (names.length === 0) return;
    process.stderr.write(`not what the commands say: ${names.join(", ")}; run make man\n`);
    process.exitCode = 1;
    return;
  }
  for (const file of stale) rmSync(join(directory, file));
  for (const [file, content] of differing) writeFileSync(join(directory, file), content);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main(process.argv.includes("--check"));
