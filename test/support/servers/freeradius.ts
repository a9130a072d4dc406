import { createSocket } from "node:dgram";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const freeradiusIsMissing = missingPrograms("/usr/sbin/freeradius");

export interface Freeradius extends Daemon {
  readonly address: string;
  readonly port: number;
}

/**
 * FreeRADIUS, which knows `monitor` with the password `a password of more than sixteen bytes`, and wants the secret
 * `shared secret` and a Message-Authenticator of everybody on loopback.
 */
export async function startFreeradius(): Promise<Freeradius> {
  const directory = serverDirectory("freeradius");
  const address = loopbackOfThisProcess();
  const port = 11812;
  const file = (name: string): string => join(directory, name);
  mkdirSync(file("log"));
  writeFileSync(file("users"), 'monitor Cleartext-Password := "a password of more than sixteen bytes"\n');
  writeFileSync(
    file("radiusd.conf"),
    `prefix = /usr
raddbdir = ${directory}
run_dir = ${directory}
logdir = ${file("log")}
libdir = /usr/lib/freeradius
pidfile = ${file("pid")}
correct_escapes = true
security {
  allow_core_dumps = no
}
log {
  destination = stdout
}
client loopback {
  ipaddr = 127.0.0.0/8
  secret = "shared secret"
  require_message_authenticator = yes
}
modules {
  pap {
  }
  files {
    usersfile = ${file("users")}
  }
}
server default {
  listen {
    type = auth
    ipaddr = ${address}
    port = ${port}
  }
  authorize {
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
}
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/freeradius",
    parameters: ["-f", "-l", "stdout", "-d", directory, "-n", "radiusd"],
    directory,
    isReady: () => listens(address, port),
  });
  return { ...daemon, address, port };
}

/** Whether a UDP port is taken. */
function listens(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.on("error", () => resolve(true));
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve(false)));
  });
}
