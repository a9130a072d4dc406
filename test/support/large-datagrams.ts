/**
 * UDP datagrams that networks cut into fragments. `large-datagrams.js serve NAME PORT ADDRESS...` sends each back from the
 * address that it came to, with its name before it, and prints a line for each: length and the first bytes' text.
 * `large-datagrams.js ask ADDRESS PORT FROM FLOWS COUNT` sends that many in each of the flows, all flows at once, one after
 * the other, checks every byte of what comes back and prints one line of JSON, a list of {@link Flow}.
 */
import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

/** What became of the datagrams of one flow. */
export interface Flow {
  /** Who answered each one, in order; empty: nobody. */
  readonly servers: readonly string[];
  /** Answers that are not what was sent, or come from elsewhere. */
  readonly wrong: number;
}

const nameLength = 8;
const tries = 3;
const patience = 2000;

function socketFor(address: string): Socket {
  return createSocket(address.includes(":") ? "udp6" : "udp4");
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = socketFor(address);
  socket.bind({ address, port });
  await once(socket, "listening");
  return socket;
}

async function serve(name: string, port: number, addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    const socket = await bound(address, port);
    socket.on("message", (data, from) => {
      process.stdout.write(`${data.length} ${data.toString("latin1", 0, 16).replace(/\W.*/s, "")}\n`);
      socket.send(Buffer.concat([Buffer.from(name.padEnd(nameLength)), data]), from.port, from.address);
    });
  }
}

/** Four to eight thousand bytes, others for each flow and number. */
function datagram(flow: number, number: number): Buffer {
  const bytes = Buffer.alloc(4096 + ((flow * 997 + number * 613) % 4097));
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i + 1, 2654435761 + flow * 40503 + number) >>> 24;
  return bytes;
}

async function ask(address: string, port: number, from: string, flow: number, count: number): Promise<Flow> {
  const socket = await bound(from, 0);
  const sent: Buffer[] = [];
  const servers: string[] = [];
  let wrong = 0;
  socket.on("message", (data, { address: source }) => {
    const found = sent.findIndex((each) => each.equals(data.subarray(nameLength)));
    // What was sent again may be answered again.
    if (found >= 0 && source === address) servers[found] = data.toString("latin1", 0, nameLength).trim();
    else wrong++;
  });
  for (let number = 0; number < count; number++) {
    const next = datagram(flow, number);
    sent.push(next);
    servers.push("");
    for (let i = 0; i < tries && servers[number] === ""; i++) {
      socket.send(next, port, address);
      const late = Date.now() + patience;
      while (servers[number] === "" && Date.now() < late)
        await Promise.race([once(socket, "message"), delay(patience)]);
    }
  }
  socket.close();
  return { servers, wrong };
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "serve") {
  const [name = "", port, ...addresses] = rest;
  await serve(name, Number(port), addresses);
} else if (mode === "ask") {
  const [address = "", port, from = "", flows, count] = rest;
  const all = Array.from({ length: Number(flows) }, (_, flow) => ask(address, Number(port), from, flow, Number(count)));
  process.stdout.write(`${JSON.stringify(await Promise.all(all))}\n`);
  process.exit(0);
}
