/** Sends frames as they are: `send-frames.js INTERFACE HEX...`. */
import { loadNative } from "../../src/native.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;

const [name = "", ...frames] = process.argv.slice(2);
const native = loadNative();
const fd = native.socketOpen(AF_PACKET, SOCK_RAW, 0);
const address = Buffer.alloc(20);
address.writeUInt16LE(AF_PACKET, 0);
address.writeInt32LE(native.interfaceIndex(name), 4);
native.socketBind(fd, address);
for (const frame of frames) native.socketSend(fd, Buffer.from(frame, "hex"));
native.socketClose(fd);
