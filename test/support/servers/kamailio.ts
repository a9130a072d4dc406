import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { accepts, loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const kamailioIsMissing = missingPrograms("/usr/sbin/kamailio");

export interface Kamailio extends Daemon {
  readonly address: string;
  /** UDP and TCP. */
  readonly port: number;
}

/**
 * Kamailio, answering OPTIONS by its user: `refuse` 403, `trying` 100 and then 200, `late` only the second request of a
 * transaction over UDP, all others 200.
 */
export async function startKamailio(): Promise<Kamailio> {
  const directory = serverDirectory("kamailio");
  const [address, port] = [loopbackOfThisProcess(), 15_060];
  const configuration = join(directory, "kamailio.cfg");
  writeFileSync(
    configuration,
    `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
listen=udp:${address}:${port}
listen=tcp:${address}:${port}
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "htable.so"
modparam("htable", "htable", "seen=>size=4;autoexpire=60;")
request_route {
  if (!is_method("OPTIONS")) { sl_send_reply("405", "Method Not Allowed"); exit; }
  if ($rU == "refuse") { sl_send_reply("403", "Forbidden"); exit; }
  if ($rU == "trying") { sl_send_reply("100", "Trying"); sl_send_reply("200", "OK"); exit; }
  if ($rU == "late" && $sht(seen=>$ci) == $null) { $sht(seen=>$ci) = 1; exit; }
  sl_send_reply("200", "OK");
}
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/kamailio",
    parameters: ["-f", configuration, "-DD", "-E", "-Y", directory, "-w", directory, "-m", "16", "-M", "4"],
    directory,
    isReady: () => accepts(address, port),
  });
  return { ...daemon, address, port };
}
