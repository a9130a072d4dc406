import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { accepts, loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const nsdIsMissing = missingPrograms("/usr/sbin/nsd");

export interface Nsd extends Daemon {
  readonly address: string;
  readonly port: number;
}

/**
 * NSD with the zone `example.org`: `www` has two addresses, `alias` is a CNAME of it, `text` has no address, `many` has
 * more addresses than a datagram holds. It knows the names of 192.0.2.10 and 2001:db8::10.
 */
export async function startNsd(): Promise<Nsd> {
  const directory = serverDirectory("nsd");
  const address = loopbackOfThisProcess();
  const port = 10053;
  const file = (name: string): string => join(directory, name);
  const head = "@ 60 IN SOA ns.example.org. root.example.org. 1 60 60 60 60\n@ 60 IN NS ns.example.org.\n";
  const many = Array.from({ length: 100 }, (_, index) => `many 60 IN A 192.0.2.${100 + index}\n`).join("");
  const zones = {
    "example.org": `${head}ns 60 IN A ${address}\nwww 60 IN A 192.0.2.10\nwww 60 IN A 192.0.2.11\nalias 60 IN CNAME www\ntext 60 IN TXT x\n${many}`,
    "2.0.192.in-addr.arpa": `${head}10 60 IN PTR www.example.org.\n`,
    "8.b.d.0.1.0.0.2.ip6.arpa": `${head}0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 IN PTR six.example.org.\n`,
  };
  const configured = Object.entries(zones).map(([name, records]) => {
    writeFileSync(file(name), records);
    return `zone:\n  name: "${name}"\n  zonefile: "${file(name)}"\n`;
  });
  writeFileSync(
    file("nsd.conf"),
    `server:
  ip-address: ${address}@${port}
  username: ""
  chroot: ""
  zonesdir: "${directory}"
  pidfile: "${file("nsd.pid")}"
  xfrdfile: "${file("xfrd.state")}"
  zonelistfile: "${file("zone.list")}"
  database: ""
  xfrdir: "${directory}"
  server-count: 1
remote-control:
  control-enable: no
${configured.join("")}`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/nsd",
    parameters: ["-d", "-c", file("nsd.conf")],
    directory,
    isReady: () => accepts(address, port),
  });
  return { ...daemon, address, port };
}
