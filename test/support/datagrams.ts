/**
 * UDP there and back: `datagrams.js serve PORT NAME` answers each datagram with its name; `datagrams.js ask ADDRESS PORT
 * FROM` sends one from one port ten times a second and prints a line with the name of whoever answers each.
 */
import { createSocket } from "node:dgram";
import { setInterval } from "node:timers/promises";

const [mode, ...rest] = process.argv.slice(2);
if (mode === "serve") {
  const [port, name = ""] = rest;
  const socket = createSocket("udp4");
  socket.on("message", (_, { address, port: to }) => socket.send(name, to, address));
  socket.bind(Number(port));
} else {
  const [address = "", port, from = ""] = rest;
  const socket = createSocket("udp4");
  socket.on("message", (data) => process.stdout.write(`${data.toString()}\n`));
  // The way is cut for a while in some labs.
  socket.on("error", () => undefined);
  socket.bind({ address: from, port: 5353 });
  for await (const _ of setInterval(100)) socket.send("?", Number(port), address);
}
