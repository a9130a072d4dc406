/**
 * SYNs or datagrams from spoofed sources, as fast as one socket takes them: `flooder.js tcp|udp INTERFACE TO FROM ADDRESS
 * PORT COUNT [TIMES]`, where TO and FROM are MAC addresses. The sources are all different, of 10.0.0.0/8, and so that
 * nobody answers them, the checksums of TCP and UDP are wrong; each sends so often in a row. Prints one line of JSON:
 * `{ "sent": N, "milliseconds": M }`.
 */
import { loadNative } from "../../src/native.ts";
import { frame } from "./packet.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const l3 = 14;
const sourceAt = l3 + 12;
const headerChecksumAt = l3 + 10;
const sourcePortAt = l3 + 20;

const [protocol, name = "", to = "", from = "", destination = "", port = "80", count = "1", times = "1"] =
  process.argv.slice(2);
const native = loadNative();
const fd = native.socketOpen(AF_PACKET, SOCK_RAW, 0);
const address = Buffer.alloc(20);
address.writeUInt16LE(AF_PACKET, 0);
address.writeInt32LE(native.interfaceIndex(name), 4);
native.socketBind(fd, address);

const bytes = frame({
  protocol: protocol === "udp" ? "udp" : "tcp",
  ...{ to, from, source: "10.0.0.0", destination, destinationPort: Number(port) },
});
const base = ~bytes.readUInt16BE(headerChecksumAt) & 0xffff;

/** RFC 1624: the header's sum without and with the source's two words, of which the first is 10.0 at the start. */
function setSource(source: number): void {
  bytes.writeUInt32BE(source, sourceAt);
  let sum = base + (~0x0a00 & 0xffff) + (source >>> 16) + (source & 0xffff);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.writeUInt16BE(~sum & 0xffff, headerChecksumAt);
}

function send(): void {
  for (;;) {
    try {
      native.socketSend(fd, bytes);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOBUFS" && code !== "EAGAIN") throw error;
    }
  }
}

const start = performance.now();
for (let i = 0; i < Number(count); i++) {
  setSource(((10 << 24) | (i & 0xffffff)) >>> 0);
  bytes.writeUInt16BE(1024 + ((i * 7919) % 60000), sourcePortAt);
  for (let sent = 0; sent < Number(times); sent++) send();
}
native.socketClose(fd);
process.stdout.write(
  `${JSON.stringify({ sent: Number(count), milliseconds: Math.round(performance.now() - start) })}\n`,
);
