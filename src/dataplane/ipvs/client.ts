/** The kernel's IPVS of the present network namespace: one call, one request. */
import { execFileSync } from "node:child_process";
import { release } from "node:os";
import { NETLINK_GENERIC, NetlinkError, NetlinkSocket } from "../netlink/socket.ts";
import type { Message } from "../netlink/messages.ts";
import type { Native } from "../../native.ts";
import { familyOfService, printIdentity, realServerKey } from "../../model/service.ts";
import type { ServiceIdentity } from "../../model/service.ts";
import {
  decodeDaemon,
  decodeDestination,
  decodeFamily,
  decodeInfo,
  decodeService,
  decodeTimeouts,
  encodeCommand,
  encodeDaemon,
  encodeDestination,
  encodeDestinationKey,
  encodeDump,
  encodeFamilyQuery,
  encodeQuery,
  encodeService,
  encodeServiceKey,
  encodeTimeouts,
  ipvsCommand,
} from "./messages.ts";
import type {
  IpvsCommand,
  IpvsDaemon,
  IpvsDaemonSettings,
  IpvsDestination,
  IpvsDestinationKey,
  IpvsDestinationSettings,
  IpvsInfo,
  IpvsService,
  IpvsServiceSettings,
  IpvsTimeouts,
} from "./messages.ts";

/** The kernel has no IPVS. The message is for the operator. */
export class IpvsMissingError extends Error {
  override readonly name = "IpvsMissingError";
}

/**
 * Every call throws a {@link NetlinkError} with the errno's name in `code` when the kernel refuses: `EEXIST` for what is
 * there already; `ESRCH` for a missing service; `ENOENT` for a missing destination, scheduler or persistence engine;
 * `EPERM` without CAP_NET_ADMIN. Modules of schedulers and persistence engines are loaded by the kernel.
 */
export class IpvsClient {
  readonly #socket: NetlinkSocket;
  #family: number;

  private constructor(socket: NetlinkSocket, family: number) {
    this.#socket = socket;
    this.#family = family;
  }

  /** Loads the module if need be. Throws {@link IpvsMissingError} if the kernel has none. */
  static open(native: Native): IpvsClient {
    const socket = new NetlinkSocket(native, NETLINK_GENERIC);
    try {
      return new IpvsClient(socket, resolveFamily(socket));
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  info(): IpvsInfo {
    return decodeInfo(this.#ask("IPVS: information", ipvsCommand.getInfo).payload);
  }

  /** All services, in the order of the kernel's hash table. */
  services(): IpvsService[] {
    return this.#dump("IPVS: services", ipvsCommand.getService).flatMap(({ payload }) => decodeService(payload) ?? []);
  }

  /** Undefined if there is none. */
  service(identity: ServiceIdentity): IpvsService | undefined {
    try {
      const what = `IPVS: service ${printIdentity(identity)}`;
      return decodeService(this.#ask(what, ipvsCommand.getService, [encodeServiceKey(identity)]).payload);
    } catch (error) {
      if (hasCode(error, "ESRCH")) return undefined;
      throw error;
    }
  }

  /** The newest first. Empty if there is no such service. */
  destinations(identity: ServiceIdentity): IpvsDestination[] {
    const family = familyOfService(identity);
    const what = `IPVS: destinations of ${printIdentity(identity)}`;
    const messages = this.#dump(what, ipvsCommand.getDestination, [encodeServiceKey(identity)]);
    return messages.map(({ payload }) => decodeDestination(payload, family));
  }

  newService(service: IpvsServiceSettings): void {
    this.#command(`add ${printIdentity(service.identity)}`, ipvsCommand.newService, [encodeService(service)]);
  }

  setService(service: IpvsServiceSettings): void {
    this.#command(`edit ${printIdentity(service.identity)}`, ipvsCommand.setService, [encodeService(service)]);
  }

  /** With its destinations. */
  deleteService(identity: ServiceIdentity): void {
    this.#command(`remove ${printIdentity(identity)}`, ipvsCommand.deleteService, [encodeServiceKey(identity)]);
  }

  newDestination(identity: ServiceIdentity, destination: IpvsDestinationSettings): void {
    this.#changeDestination("add", ipvsCommand.newDestination, identity, destination);
  }

  setDestination(identity: ServiceIdentity, destination: IpvsDestinationSettings): void {
    this.#changeDestination("edit", ipvsCommand.setDestination, identity, destination);
  }

  deleteDestination(identity: ServiceIdentity, key: IpvsDestinationKey): void {
    const what = `remove ${realServerKey(key)} of ${printIdentity(identity)}`;
    const attributes = [encodeServiceKey(identity), encodeDestinationKey(key)];
    this.#command(what, ipvsCommand.deleteDestination, attributes);
  }

  #changeDestination(
    verb: string,
    command: IpvsCommand,
    identity: ServiceIdentity,
    destination: IpvsDestinationSettings,
  ): void {
    const what = `${verb} ${realServerKey(destination)} of ${printIdentity(identity)}`;
    this.#command(what, command, [encodeServiceKey(identity), encodeDestination(destination)]);
  }

  /** Removes every service. */
  flush(): void {
    this.#command("remove every service", ipvsCommand.flush);
  }

  /** Sets the counters to 0, of one service with its destinations or of all. */
  zero(identity?: ServiceIdentity): void {
    const attributes = identity === undefined ? [] : [encodeServiceKey(identity)];
    this.#command("zero counters", ipvsCommand.zero, attributes);
  }

  timeouts(): IpvsTimeouts {
    return decodeTimeouts(this.#ask("IPVS: timeouts", ipvsCommand.getConfig).payload);
  }

  setTimeouts(timeouts: IpvsTimeouts): void {
    this.#command("set timeouts", ipvsCommand.setConfig, encodeTimeouts(timeouts));
  }

  /** The synchronisation daemons that run: master, backup, or both. */
  daemons(): IpvsDaemon[] {
    return this.#dump("IPVS: daemons", ipvsCommand.getDaemon).map(({ payload }) => decodeDaemon(payload));
  }

  newDaemon(daemon: IpvsDaemonSettings): void {
    this.#command("start a synchronisation daemon", ipvsCommand.newDaemon, [encodeDaemon(daemon)]);
  }

  deleteDaemon(daemon: IpvsDaemonSettings): void {
    try {
      this.#command("stop a synchronisation daemon", ipvsCommand.deleteDaemon, [encodeDaemon(daemon)]);
    } catch (error) {
      // One that has not yet begun is stopped, too, but kthread_stop calls that an interruption.
      if (!hasCode(error, "EINTR")) throw error;
    }
  }

  close(): void {
    this.#socket.close();
  }

  #command(what: string, command: IpvsCommand, attributes: readonly Buffer[] = []): void {
    this.#retried(() => {
      this.#socket.command(`IPVS: ${what}`, (sequence) => encodeCommand(this.#family, command, attributes, sequence));
    });
  }

  #ask(what: string, command: IpvsCommand, attributes: readonly Buffer[] = []): Message {
    return this.#retried(() =>
      this.#socket.ask(what, (sequence) => encodeQuery(this.#family, command, attributes, sequence)),
    );
  }

  #dump(what: string, command: IpvsCommand, attributes: readonly Buffer[] = []): Message[] {
    return this.#retried(() =>
      this.#socket.dump(what, (sequence) => encodeDump(this.#family, command, attributes, sequence)),
    );
  }

  /** The family has another number after its module was removed and loaded again; the one before is nobody's. */
  #retried<T>(request: () => T): T {
    try {
      return request();
    } catch (error) {
      if (!hasCode(error, "ENOENT") || ipvsStillHas(this.#socket, this.#family)) throw error;
      this.#family = resolveFamily(this.#socket);
      return request();
    }
  }
}

function ipvsStillHas(socket: NetlinkSocket, family: number): boolean {
  try {
    return decodeFamily(socket.ask("IPVS", encodeFamilyQuery).payload) === family;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}

function resolveFamily(socket: NetlinkSocket): number {
  const ask = (): number => decodeFamily(socket.ask("IPVS", encodeFamilyQuery).payload);
  try {
    // The kernel itself loads the module for whoever has CAP_NET_ADMIN.
    return ask();
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  const trouble = loadModule();
  try {
    return ask();
  } catch (cause) {
    if (!hasCode(cause, "ENOENT")) throw cause;
    throw new IpvsMissingError(`Linux ${release()} has no IPVS${trouble === "" ? "" : `: ${trouble}`}`, { cause });
  }
}

/** Returns what was wrong, or an empty text. */
function loadModule(): string {
  try {
    execFileSync("modprobe", ["ip_vs"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    });
    return "";
  } catch (error) {
    // execFileSync's errors carry what the program said.
    const { stderr, message } = error as Error & { readonly stderr?: Buffer };
    return (stderr?.toString().trim() || message).split("\n")[0] ?? "";
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof NetlinkError && error.code === code;
}
