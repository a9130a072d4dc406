/** Messages to the kernel's IPVS (include/uapi/linux/ip_vs.h), from struct genlmsghdr on; independent of the IPVS plane. */
import type { Change } from "../../src/model/change.ts";
import { familyOf } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { Timeouts } from "../../src/model/state.ts";
import { addressBytes } from "../support/packet.ts";

const command = {
  newService: 1,
  setService: 2,
  delService: 3,
  newDest: 5,
  setDest: 6,
  delDest: 7,
  setConfig: 12,
} as const;
const protocols = { tcp: 6, udp: 17, sctp: 132 } as const;
const methods = { masq: 0, ipip: 2, gate: 3 } as const;
const tunnels = { ipip: 0, gue: 1, gre: 2 } as const;
const tunnelFlags = { none: 0, full: 1, remote: 2 } as const;
const schedulerFlags: Readonly<Record<string, number>> = {
  "flag-1": 8,
  "flag-2": 16,
  "flag-3": 32,
  "sh-fallback": 8,
  "sh-port": 16,
  "mh-fallback": 8,
  "mh-port": 16,
};

function u8(value: number): Buffer {
  return Buffer.from([value]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function be16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

/** struct nlattr, padded. */
function attribute(type: number, value: Buffer): Buffer {
  const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  padded.writeUInt16LE(4 + value.length, 0);
  padded.writeUInt16LE(type, 2);
  value.copy(padded, 4);
  return padded;
}

const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const address = (value: string): Buffer => Buffer.concat([addressBytes(value), Buffer.alloc(16)], 16);
const familyNumber = (value: string): number => (familyOf(value) === "ipv6" ? 10 : 2);

function message(cmd: number, ...attributes: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([cmd, 1, 0, 0]), ...attributes]);
}

function identityAttributes(identity: ServiceIdentity): Buffer[] {
  if (identity.kind === "mark") {
    return [attribute(1, u16(identity.family === "ipv6" ? 10 : 2)), attribute(5, u32(identity.mark))];
  }
  return [
    attribute(1, u16(familyNumber(identity.address))),
    attribute(2, u16(protocols[identity.protocol])),
    attribute(3, address(identity.address)),
    attribute(4, be16(identity.port)),
  ];
}

function ipv6Service(identity: ServiceIdentity): boolean {
  return identity.kind === "mark" ? identity.family === "ipv6" : familyOf(identity.address) === "ipv6";
}

function netmask(prefix: number, ipv6: boolean): Buffer {
  if (ipv6) return u32(prefix);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);
  return bytes;
}

function serviceAttributes(service: VirtualService): Buffer {
  const ipv6 = ipv6Service(service.identity);
  const flags =
    (service.persistence === undefined ? 0 : 1) |
    (service.onePacket ? 4 : 0) |
    service.schedulerFlags.reduce((sum, name) => sum | (schedulerFlags[name] ?? 0), 0);
  return attribute(
    1,
    Buffer.concat([
      ...identityAttributes(service.identity),
      attribute(6, text(service.scheduler)),
      attribute(7, Buffer.concat([u32(flags), u32(0xffffffff)])),
      attribute(8, u32(service.persistence?.timeout ?? 0)),
      attribute(9, netmask(service.persistence?.prefix ?? (ipv6 ? 128 : 32), ipv6)),
    ]),
  );
}

function realServerAttributes(server: RealServer): Buffer {
  return attribute(
    2,
    Buffer.concat([
      attribute(11, u16(familyNumber(server.address))),
      attribute(1, address(server.address)),
      attribute(2, be16(server.port)),
      attribute(3, u32(methods[server.method])),
      attribute(4, u32(server.weight)),
      attribute(5, u32(server.upperThreshold)),
      attribute(6, u32(server.lowerThreshold)),
      attribute(13, u8(tunnels[server.tunnel?.type ?? "ipip"])),
      attribute(14, be16(server.tunnel?.port ?? 0)),
      attribute(15, u16(tunnelFlags[server.tunnel?.checksum ?? "none"])),
    ]),
  );
}

const named = (identity: ServiceIdentity): Buffer => attribute(1, Buffer.concat(identityAttributes(identity)));

/** What ipvsadm would send for a change. */
export function changeMessage(change: Change): Buffer {
  switch (change.kind) {
    case "add-service":
      return message(command.newService, serviceAttributes(change.service));
    case "edit-service":
      return message(command.setService, serviceAttributes(change.service));
    case "remove-service":
      return message(command.delService, named(change.identity));
    case "add-real-server":
      return message(command.newDest, named(change.identity), realServerAttributes(change.realServer));
    case "edit-real-server":
      return message(command.setDest, named(change.identity), realServerAttributes(change.realServer));
    case "remove-real-server":
      return message(
        command.delDest,
        named(change.identity),
        attribute(
          2,
          Buffer.concat([
            attribute(11, u16(familyNumber(change.address))),
            attribute(1, address(change.address)),
            attribute(2, be16(change.port)),
          ]),
        ),
      );
  }
}

/** `ipvsadm --set`; in seconds, 0 leaves one as it is. */
export function timeoutsMessage({ tcp, tcpFin, udp }: Timeouts): Buffer {
  return message(command.setConfig, attribute(4, u32(tcp)), attribute(5, u32(tcpFin)), attribute(6, u32(udp)));
}
