/** A play to the XDP data path in a network namespace that has the play's addresses, routes and neighbours. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deserialize, serialize } from "node:v8";
import { arrangement, directorMac } from "./play.ts";
import type { Play } from "./play.ts";
import { playToXdp, vlanOf } from "./xdp-player.ts";
import type { Played } from "./xdp-player.ts";

/**
 * In the place of each VLAN interface a veth with its name, which this kernel surely has: frames are given to the program
 * at eth0, and only routes and neighbours of the others are asked for.
 */
function withStandIns(play: Play): Play {
  const network = play.network.flatMap((line) => {
    const vlan = vlanOf(line);
    if (vlan === undefined) return [line];
    const { name } = vlan;
    return [
      `link add ${name} address ${directorMac} type veth peer name ${name}-peer`,
      `link set ${name}-peer arp off up`,
    ];
  });
  return { ...play, network };
}

/** As {@link playToXdp}, where the program can ask for the way to any client. */
export async function playToXdpInNamespace(play: Play): Promise<Played> {
  const folder = mkdtempSync(join(tmpdir(), "xlb-play-"));
  try {
    writeFileSync(join(folder, "play"), serialize(play));
    const commands = [
      ...arrangement(withStandIns(play), join(folder, "xdp")),
      `exec ${process.execPath} --enable-source-maps ${fileURLToPath(import.meta.url)} ${folder}`,
    ];
    await promisify(execFile)("unshare", ["--net", "bash", "-c", commands.join("\n")], { maxBuffer: 2 ** 26 });
    // Written by the same class of this process's own code.
    return deserialize(readFileSync(join(folder, "played"))) as Played;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The interface's number in this namespace. */
function indexOf(name: string): number {
  if (networkInterfaces()[name] === undefined) throw new Error(`there is no ${name}`);
  return Number(readFileSync(`/proc/self/net/igmp`, "utf8").match(new RegExp(`^(\\d+)\\s+${name}\\s`, "m"))?.[1]);
}

const [, script, folder] = process.argv;
if (script === fileURLToPath(import.meta.url) && folder !== undefined) {
  test("a play", async () => {
    const play = deserialize(readFileSync(join(folder, "play"))) as Play;
    writeFileSync(join(folder, "played"), serialize(await playToXdp(play, indexOf("eth0"))));
  });
}
