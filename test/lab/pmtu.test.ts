/** Path MTU discovery through the director: whoever sends too much is told, and by whom it should be. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ForwardingMethod, RealServer, ServiceIdentity } from "../../src/model/service.ts";
import { BareDirector } from "../support/bare-director.ts";
import { bare, isIpv6, tutorialPlan, tutorialPlan6, url, waitFor } from "../support/lab.ts";
import type { AddressPlan, Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";
import { openTunnels } from "../support/tunnels.ts";

const megabyte = 1 << 20;

function family(address: string): "-4" | "-6" {
  return isIpv6(address) ? "-6" : "-4";
}

/** The MTU that a host has learned for its way to the address, in bytes; undefined: none. */
async function learned(lab: Lab, host: string, to: string, from: string): Promise<number | undefined> {
  const route = await lab.run(host, "ip", family(to), "route", "get", bare(to), "from", bare(from));
  const mtu = /\bmtu (\d+)/.exec(route)?.[1];
  return mtu === undefined ? undefined : Number(mtu);
}

/** As a router whose link in that direction is narrow; one answers whatever does not fit with an ICMP error. */
async function narrow(lab: Lab, router: string, to: string, way: readonly string[], mtu: number): Promise<void> {
  const host = `${bare(to)}/${isIpv6(to) ? 128 : 32}`;
  await lab.run(router, "ip", family(to), "route", "replace", host, ...way, "mtu", "lock", String(mtu));
}

async function upload(lab: Lab, virtual: string, from: string): Promise<void> {
  const sent = randomBytes(2 * megabyte + 123);
  const file = join(lab.dir, "sent");
  writeFileSync(file, sent);
  const put = await lab.curl(url(virtual, "/upload/file"), { from, args: ["--upload-file", file] });
  assert.ok(put.status === 201 || put.status === 204, `${put.status} ${put.error}`);
  assert.ok(readFileSync(join(lab.documentRoot(put.server), "upload", "file")).equals(sent), "the file is another");
}

async function download(lab: Lab, virtual: string, port: number, from: string): Promise<string> {
  const big = await lab.curl(url(virtual, "/big", port), { from });
  assert.equal(big.status, 200, big.error);
  assert.equal(big.body, readFileSync(join(lab.documentRoot(big.server), "big"), "utf8"));
  return big.server;
}

function realServer(address: string, method: ForwardingMethod, port: number): RealServer {
  return { address: bare(address), port, method, weight: 1, upperThreshold: 0, lowerThreshold: 0 };
}

async function serve(director: BareDirector, plan: AddressPlan, port: number, real: readonly RealServer[]) {
  const address = bare(plan.virtual[0] ?? "");
  const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address, port };
  await director.apply(
    {
      kind: "add-service",
      service: { identity, scheduler: "rr", schedulerFlags: [], onePacket: false, realServers: [] },
    },
    ...real.map((realServer) => ({ kind: "add-real-server", identity, realServer }) as const),
  );
}

const plans = [tutorialPlan, tutorialPlan6] as const;

story("a client learns how much goes through a tunnel", plans, async (lab) => {
  await openTunnels(lab);
  const director = new BareDirector(lab);
  for (const plan of plans) {
    const [virtual = ""] = plan.virtual;
    const [near = "", far = ""] = plan.clients;
    const [server = ""] = plan.servers;
    // The tunnel ends at an address beyond a router.
    const end = isIpv6(server) ? "fd00:99::1" : "10.99.0.1";
    await lab.run("http1", "ip", family(end), "addr", "add", end, "dev", "lo");
    await lab.run("director", "ip", family(end), "route", "add", end, "via", bare(plan.serverSide?.gateway ?? ""));
    await lab.run("gateway", "ip", family(end), "route", "add", end, "via", bare(server));
    await serve(director, plan, 80, [realServer(end, "ipip", 80)]);
    await waitFor("an answer", async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200);

    const header = isIpv6(end) ? 40 : 20;
    assert.equal(await learned(lab, "client", virtual, near), undefined);
    await upload(lab, virtual, near);
    assert.equal(await learned(lab, "client", virtual, near), 1500 - header, "told by the director");
    await narrow(lab, "gateway", end, ["via", bare(server)], 1400);
    await upload(lab, virtual, far);
    assert.equal(await learned(lab, "client", virtual, far), 1400 - header, "told by a router, through the director");
    await download(lab, virtual, 80, far);
  }
  await director.end();
});

const methods = [
  { method: "gate", port: 80, realPort: 80 },
  { method: "ipip", port: 8080, realPort: 8080 },
  { method: "masq", port: 81, realPort: 8080 },
] as const;

story("a real server learns how much goes to its client", plans, async (lab) => {
  await openTunnels(lab);
  await lab.run("director", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  const director = new BareDirector(lab);
  for (const plan of plans) {
    const [virtual = ""] = plan.virtual;
    // Replies of masqueraded real servers take the way through the director.
    for (const [index, server] of lab.servers.entries()) {
      const from = bare(plan.servers[index] ?? "");
      await lab.run(server, "ip", family(from), "rule", "add", "from", from, "lookup", "77");
      const way = ["default", "via", bare(plan.serverSide?.director ?? "")];
      await lab.run(server, "ip", family(from), "route", "add", ...way, "table", "77");
    }
    for (const [index, { method, port, realPort }] of methods.entries()) {
      const real = plan.servers.map((server) => realServer(server, method, realPort));
      await serve(director, plan, port, real);
      const client = plan.clients[index] ?? "";
      await waitFor(
        `an answer by ${method}`,
        async () => (await lab.curl(url(virtual, "/", port), { timeoutS: 2, from: client })).status === 200,
      );
      await narrow(lab, "gateway", client, ["dev", "clients"], 1300);
      const owner = await download(lab, virtual, port, client);
      for (const [place, server] of lab.servers.entries()) {
        const from = method === "masq" ? (plan.servers[place] ?? "") : virtual;
        const known = await learned(lab, server, client, from);
        assert.equal(known, server === owner ? 1300 : undefined, `${method}: ${server}, ${owner} has the connection`);
      }
    }
  }
  await director.end();
});
