/** `make lab` and `make lab-down`: the demo's cluster, kept to play with. */
import { chmodSync } from "node:fs";
import { Director, directorIsMissing } from "../test/support/director.ts";
import { Lab, labIsMissing } from "../test/support/lab.ts";
import { configuration, plan } from "./cluster.ts";

const name = "xlb-playground";

async function up(): Promise<number> {
  const missing = labIsMissing() || directorIsMissing();
  if (missing) {
    process.stderr.write(`make lab: ${missing}\n`);
    return 1;
  }
  if (Lab.isKept(name)) {
    process.stderr.write("make lab: the lab is there already; make lab-down removes it\n");
    return 1;
  }
  const lab = await Lab.create({ plans: [plan], keepAs: name });
  try {
    const director = await Director.start(lab, { config: configuration, name: "ldirectord" });
    await director.waitForWeights({ "192.168.200.102:80": 1, "192.168.200.103:80": 1 });
    script(lab, "on", `host=$1; shift; exec nsenter --net=/run/netns/${name}-"$host" "$@"`);
    script(
      lab,
      "xlb",
      `command=$1; shift; exec ${lab.dir}/on director ${director.command('"$command"').join(" ")} "$@"`,
    );
    script(lab, "run-xlb", `exec ${lab.dir}/on director ${director.daemonCommand.map(quote).join(" ")}`);
    script(
      lab,
      "web",
      `case $1 in
start) exec ${lab.dir}/on "$2" nginx -p ${lab.dir}/"$2" -c ${lab.dir}/"$2"/nginx.conf -g 'daemon on;' ;;
stop) kill "$(cat ${lab.dir}/"$2"/nginx.pid)" ;;
*) echo "web start|stop http1|http2|director" >&2; exit 2 ;;
esac`,
    );
    process.stdout.write(`The tutorial's cluster runs. What to try:

  cd ${lab.dir}
  ./on client curl http://10.10.10.53/                              a request
  ./on client curl --interface 172.20.0.12 http://10.10.10.53/      from another client (172.20.0.11 to .18)
  ./on client curl 'http://10.10.10.53/big?rate=20k' -o /dev/null & a slow download: a connection that stays open
  ./xlb stats --watch                                               services and real servers
  ./xlb connections                                                 the live connections
  ./xlb health                                                      what the checks say
  ./web stop http1; ./xlb health; ./web start http1                 a real server fails and comes back
  editor ldirectord.cf                                              autoreload takes it; ./xlb status tells
  kill -9 $(head -1 ldirectord-state/xlb.pid)                       packets go on; ./run-xlb & takes over again
  ./on director curl http://${director.metricsAddress}/metrics                what Prometheus reads
  ./on director ip link show front                                  the program on the interface

make lab-down removes it all.
`);
    return 0;
  } catch (error) {
    // Half a lab is of no use. Told first: nothing that is left keeps this process waiting for the removal's end.
    process.stderr.write(`make lab: ${(error as Error).message}\n`);
    process.exitCode = 1;
    await lab.remove();
    return 1;
  }
}

function script(lab: Lab, file: string, text: string): void {
  chmodSync(lab.write(file, `#!/bin/sh\n${text}\n`), 0o755);
}

function quote(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word}'`;
}

function down(): number {
  if (Lab.removeKept(name)) process.stdout.write("The lab is removed.\n");
  else process.stdout.write("There is no lab.\n");
  return 0;
}

process.exitCode = process.argv[2] === "down" ? down() : await up();
