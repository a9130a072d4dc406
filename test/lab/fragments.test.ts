import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { ForwardingMethod, RealServer } from "../../src/model/service.ts";
import { openXdpReader } from "../../src/dataplane/xdp/reader.ts";
import { loadNative } from "../../src/native.ts";
import { BareDirector } from "../support/bare-director.ts";
import { bare, isIpv6, tutorialPlan, tutorialPlan6, waitFor } from "../support/lab.ts";
import type { AddressPlan, Lab, LabProcess } from "../support/lab.ts";
import type { Flow } from "../support/large-datagrams.ts";
import { frame } from "../support/packet.ts";
import { story } from "../support/story.ts";

const datagrams = fileURLToPath(new URL("../support/large-datagrams.js", import.meta.url));
const sendFrames = fileURLToPath(new URL("../support/send-frames.js", import.meta.url));
const plans = [tutorialPlan, tutorialPlan6] as const;

/** Services of each plan: what clients ask for, and where the real servers listen. */
const services = {
  gate: { method: "gate", port: 5300, realPort: 5300, onePacket: false },
  masq: { method: "masq", port: 5301, realPort: 5300, onePacket: false },
  onePacket: { method: "gate", port: 5302, realPort: 5302, onePacket: true },
} as const;
const flows = 8;
const count = 10;

function realServer(address: string, method: ForwardingMethod, port: number): RealServer {
  return { address: bare(address), port, method, weight: 1, upperThreshold: 0, lowerThreshold: 0 };
}

async function serve(director: BareDirector, plan: AddressPlan): Promise<void> {
  for (const { method, port, realPort, onePacket } of Object.values(services)) {
    const address = bare(plan.virtual[0] ?? "");
    const identity = { kind: "address", protocol: "udp", address, port } as const;
    await director.apply(
      { kind: "add-service", service: { identity, scheduler: "rr", schedulerFlags: [], onePacket, realServers: [] } },
      ...plan.servers.map((server) => {
        return { kind: "add-real-server", identity, realServer: realServer(server, method, realPort) } as const;
      }),
    );
  }
}

/** Replies of masqueraded real servers go through the director, those with a virtual address past it. */
async function throughDirector(lab: Lab): Promise<void> {
  await lab.run("director", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  for (const plan of lab.plans) {
    for (const [index, server] of lab.servers.entries()) {
      const from = bare(plan.servers[index] ?? "");
      const family = isIpv6(from) ? "-6" : "-4";
      await lab.run(server, "ip", family, "rule", "add", "from", from, "lookup", "77");
      const way = ["default", "via", bare(plan.serverSide?.director ?? "")];
      await lab.run(server, "ip", family, "route", "add", ...way, "table", "77");
    }
  }
}

async function startServers(lab: Lab): Promise<readonly LabProcess[]> {
  const processes: LabProcess[] = [];
  for (const port of [5300, 5302]) {
    for (const [index, server] of lab.servers.entries()) {
      const addresses = lab.plans.flatMap(({ virtual, servers }) => [virtual[0] ?? "", servers[index] ?? ""]).map(bare);
      const command = [process.execPath, datagrams, "serve", server, String(port), ...addresses];
      processes.push(lab.spawn(server, command, `datagrams-${port}`));
      await waitFor(
        `${server} listens`,
        async () => (await lab.run(server, "ss", "-Hlun", `sport = :${port}`)).split("\n").length > addresses.length,
      );
    }
  }
  return processes;
}

async function ask(lab: Lab, plan: AddressPlan, port: number, times = count): Promise<readonly Flow[]> {
  const [virtual = ""] = plan.virtual;
  const [from = ""] = plan.clients;
  const args = [bare(virtual), port, bare(from), flows, times].map(String);
  return JSON.parse(await lab.run("client", process.execPath, datagrams, "ask", ...args)) as Flow[]; // Our own script's.
}

story("large datagrams arrive whole, each flow at its real server", plans, async (lab) => {
  await throughDirector(lab);
  await startServers(lab);
  const director = new BareDirector(lab);
  for (const plan of plans) {
    await serve(director, plan);
    for (const [name, { port, onePacket }] of Object.entries(services)) {
      const [virtual = ""] = plan.virtual;
      const what = `${name}, ${isIpv6(virtual) ? "IPv6" : "IPv4"}`;
      const all = await ask(lab, plan, port);
      assert.equal(all.length, flows);
      for (const { servers, wrong } of all) {
        assert.equal(servers.length, count);
        assert.ok(
          servers.every((server) => /^http[12]$/.test(server)),
          `${what}: ${servers.join(" ")}`,
        );
        assert.equal(wrong, 0, what);
        if (!onePacket) assert.equal(new Set(servers).size, 1, `${what}: ${servers.join(" ")}`);
      }
      const answers = all.flatMap(({ servers }) => servers);
      for (const server of lab.servers) {
        const share = answers.filter((each) => each === server).length / answers.length;
        assert.ok(Math.abs(share - 0.5) < (onePacket ? 0.2 : 0.13), `${what}: ${server} has ${share} of all`);
      }
    }
  }
  await director.end();
});

/** The datagram as frames to the director, cut into 1,000 bytes each. */
function fragmentsOf(plan: AddressPlan, port: number, mac: { to: string; from: string }, id: number, text: string) {
  const source = bare(plan.clients[1] ?? "");
  const destination = bare(plan.virtual[0] ?? "");
  const ipv6 = isIpv6(destination);
  const payload = Buffer.alloc(3980, `${text} `);
  const whole = frame({ source, destination, protocol: "udp", sourcePort: 6000, destinationPort: port, payload });
  const transport = whole.subarray(ipv6 ? 54 : 34);
  return [0, 1000, 2000, 3000].map((at) => {
    const part = transport.subarray(at, at + 1000);
    const more = at + 1000 < transport.length;
    const place = ipv6 ? at | (more ? 1 : 0) : (at / 8) | (more ? 0x2000 : 0);
    const header = [0, 0, place >> 8, place & 255, 0, 0, 0, id];
    const cut = ipv6 ? { extensions: [{ type: 44, bytes: header }] } : { fragment: place, id };
    return frame({ ...mac, source, destination, protocol: 17, transport: part, ...cut }).toString("hex");
  });
}

async function macOf(lab: Lab, host: string, link: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await lab.run(host, "ip", "link", "show", "dev", link))?.[1] ?? "";
}

story("fragments may overtake each other, but not the first one", plans, async (lab) => {
  await throughDirector(lab);
  const servers = await startServers(lab);
  const director = new BareDirector(lab);
  const mac = { to: await macOf(lab, "director", "front"), from: await macOf(lab, "gateway", "front") };
  const passed = (): bigint => {
    const reader = openXdpReader(director.bpffs, loadNative());
    try {
      return reader.statistics().packets["pass_fragment"] ?? 0n;
    } finally {
      reader.close();
    }
  };
  const send = async (frames: readonly (string | undefined)[]): Promise<void> => {
    await lab.run("gateway", process.execPath, sendFrames, "front", ...frames.flatMap((each) => each ?? []));
  };
  const arrived = (text: string): number =>
    servers.reduce(
      (sum, server) =>
        sum +
        server
          .log()
          .split("\n")
          .filter((line) => line === `3980 ${text}`).length,
      0,
    );
  // Of one sender and receiver, so that none is seen twice.
  let id = 0;
  for (const plan of plans) {
    await serve(director, plan);
    await ask(lab, plan, services.gate.port, 1);
    for (const { method, port } of [services.gate, services.masq]) {
      const what = `${method}${isIpv6(plan.virtual[0] ?? "") ? 6 : 4}`;
      const [a, b, c, d] = fragmentsOf(plan, port, mac, ++id, `${what}shuffled`);
      await send([a, d, c, b]);
      await waitFor(`${what}: the datagram`, () => arrived(`${what}shuffled`) === 1);

      const before = passed();
      const [e, f, g, h] = fragmentsOf(plan, port, mac, ++id, `${what}late`);
      await send([f, g, h, e]);
      await waitFor(`${what}: three fragments of an unknown packet`, () => passed() === before + 3n);
      // The sender tries again, with another identification; and of two at once each goes its way.
      const again = fragmentsOf(plan, port, mac, ++id, `${what}again`);
      const other = fragmentsOf(plan, port, mac, ++id, `${what}other`);
      await send(again.flatMap((each, index) => [each, other[index]]));
      await waitFor(`${what}: both`, () => arrived(`${what}again`) === 1 && arrived(`${what}other`) === 1);
      assert.equal(arrived(`${what}late`), 0);
    }
  }
  await director.end();
});
