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

/** A datagram as frames to the director, cut into 1,000 bytes each. `text` is what the real server prints of it. */
function fragmentsOf(plan: AddressPlan, port: number, mac: { to: string; from: string }, id: number, text: string) {
  const source = bare(plan.clients[1] ?? "");
  const destination = bare(plan.virtual[0] ?? "");
  const payload = Buffer.alloc(3980, `${text} `);
  const whole = frame({ source, destination, protocol: "udp", sourcePort: 6000, destinationPort: port, payload });
  const transport = whole.subarray(isIpv6(destination) ? 54 : 34);
  return [0, 1000, 2000, 3000].map((at) => {
    const part = transport.subarray(at, at + 1000);
    return fragmentAt({ ...mac, source, destination }, id, at, at + 1000 < transport.length, part);
  });
}

/** One fragment, in hexadecimal. `at`: bytes from the datagram's beginning, a multiple of 8. */
function fragmentAt(
  way: { to: string; from: string; source: string; destination: string },
  id: number,
  at: number,
  more: boolean,
  transport: Uint8Array,
): string {
  const ipv6 = isIpv6(way.destination);
  const place = ipv6 ? at | (more ? 1 : 0) : (at / 8) | (more ? 0x2000 : 0);
  const header = [0, 0, place >> 8, place & 255, 0, 0, id >> 8, id & 255];
  const cut = ipv6 ? { extensions: [{ type: 44, bytes: header }] } : { fragment: place, id };
  return frame({ ...way, protocol: 17, transport, ...cut }).toString("hex");
}

async function macOf(lab: Lab, host: string, link: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await lab.run(host, "ip", "link", "show", "dev", link))?.[1] ?? "";
}

/** What the stories about single fragments need, in a lab whose servers and data plane run. */
async function startSender(lab: Lab) {
  await throughDirector(lab);
  const servers = await startServers(lab);
  const director = new BareDirector(lab);
  const mac = { to: await macOf(lab, "director", "front"), from: await macOf(lab, "gateway", "front") };
  // Of one sender and receiver, so that none is seen twice.
  let id = 0;
  const send = async (frames: readonly string[]): Promise<void> => {
    await lab.run("gateway", process.execPath, sendFrames, "front", ...frames);
  };
  const has = (text: string): boolean =>
    servers.some((server) =>
      server
        .log()
        .split("\n")
        .some((line) => line === `3980 ${text}`),
    );
  return {
    director,
    mac,
    send,
    count(name: string): number {
      const reader = openXdpReader(director.bpffs, loadNative());
      try {
        return Number(reader.statistics().packets[name] ?? 0n);
      } finally {
        reader.close();
      }
    },
    /** The four fragments of a new datagram. */
    fragments: (plan: AddressPlan, port: number, text: string) => fragmentsOf(plan, port, mac, ++id, text),
    /** Sends anew, under other names, until each of the datagrams has arrived: a machine under load may be too slow for one. */
    async untilArrived(what: string, make: (text: string) => readonly string[], names: readonly string[] = [""]) {
      let tries = 0;
      await waitFor(what, async () => {
        const text = `${what}${++tries}`;
        await send(make(text));
        await waitFor(text, () => names.every((name) => has(text + name)), 2000);
        return true;
      });
    },
  };
}

story("fragments may overtake each other, and the first one", plans, async (lab) => {
  const { director, send, count, fragments, untilArrived } = await startSender(lab);
  for (const plan of plans) {
    await serve(director, plan);
    await ask(lab, plan, services.gate.port, 1);
    const family = isIpv6(plan.virtual[0] ?? "") ? 6 : 4;
    for (const { method, port } of [services.gate, services.masq]) {
      const what = `${method}${family}`;
      await untilArrived(`${what}shuffled`, (text) => {
        const [a = "", b = "", c = "", d = ""] = fragments(plan, port, text);
        return [a, d, c, b];
      });

      const before = { held: count("hold_fragment"), forwarded: count("forward_fragment") };
      await untilArrived(`${what}reversed`, (text) => fragments(plan, port, text).reverse());
      assert.ok(count("hold_fragment") >= before.held + 3);
      assert.ok(count("forward_fragment") >= before.forwarded + 4);

      // Of two at once each goes its way, though the first fragments of both come last.
      await untilArrived(
        `${what}two`,
        (text) => {
          const other = fragments(plan, port, `${text}b`).reverse();
          const both = fragments(plan, port, `${text}a`).reverse();
          return both.flatMap((each, index) => [each, other[index] ?? ""]);
        },
        ["a", "b"],
      );
    }

    // Those without a first one are the stack's in the end.
    const passed = count("pass_fragment");
    await send(fragments(plan, services.gate.port, "alone").slice(1));
    await waitFor("three fragments are the stack's", () => count("pass_fragment") >= passed + 3);
  }
  await director.end();
});

story("a flood of fragments without a first one costs little, and others are held after it", plans, async (lab) => {
  const { director, mac, send, count, fragments, untilArrived } = await startSender(lab);
  for (const plan of plans) {
    await serve(director, plan);
    await ask(lab, plan, services.gate.port, 1);
    const way = { ...mac, source: bare(plan.clients[1] ?? ""), destination: bare(plan.virtual[0] ?? "") };
    const start = Date.now();
    const before = count("hold_fragment");
    await send(Array.from({ length: 3000 }, (_, id) => fragmentAt(way, 1000 + id, 1000, false, Buffer.alloc(8))));
    const held = count("hold_fragment") - before;
    // 128 at once, and as many for each fifth of a second.
    const most = 128 * (2 + (Date.now() - start) / 200);
    assert.ok(held > 0 && held <= most, `${held} of 3000 were held in ${Date.now() - start} ms`);

    const family = isIpv6(way.destination) ? 6 : 4;
    await untilArrived(`after${family}flood`, (text) => fragments(plan, services.gate.port, text).reverse());
  }
  await director.end();
});
