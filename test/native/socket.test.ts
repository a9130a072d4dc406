import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { errorOf, native } from "./fixture.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_DONE = 3;

/** A request for all interfaces: struct nlmsghdr, struct ifinfomsg. */
function linkDump(): Buffer {
  const request = Buffer.alloc(32);
  request.writeUInt32LE(32, 0);
  request.writeUInt16LE(RTM_GETLINK, 4);
  request.writeUInt16LE(NLM_F_REQUEST_DUMP, 6);
  request.writeUInt32LE(7, 8);
  return request;
}

function kernelAddress(): Buffer {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  return address;
}

function openNetlink(): number {
  const fd = native.socketOpen(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  native.socketBind(fd, kernelAddress());
  return fd;
}

/** Types and interface indexes of the messages in a datagram. */
function messages(data: Buffer): { readonly type: number; readonly ifindex: number }[] {
  const found = [];
  for (let at = 0; at + 16 <= data.length; at += (data.readUInt32LE(at) + 3) & ~3) {
    const type = data.readUInt16LE(at + 4);
    found.push({ type, ifindex: type === RTM_NEWLINK ? data.readInt32LE(at + 20) : 0 });
  }
  return found;
}

test("a netlink dump tells of lo, and receiving never blocks", async () => {
  const fd = openNetlink();
  assert.equal(native.socketReceive(fd, 65536), undefined);
  assert.equal(native.socketSend(fd, linkDump(), kernelAddress()), 32);
  const seen: ReturnType<typeof messages> = [];
  await new Promise<void>((resolve) => {
    native.pollStart(fd, () => {
      for (let got = native.socketReceive(fd, 65536); got; got = native.socketReceive(fd, 65536)) {
        assert.equal(got.address.length, 12);
        assert.equal(got.address.readUInt16LE(0), AF_NETLINK);
        seen.push(...messages(got.data));
      }
      if (seen.some(({ type }) => type === NLMSG_DONE)) resolve();
    });
  });
  native.pollStop(fd);
  native.pollStop(fd);
  native.socketClose(fd);
  const lo = native.interfaceIndex("lo");
  assert.ok(lo > 0);
  assert.ok(seen.some(({ type, ifindex }) => type === RTM_NEWLINK && ifindex === lo));
});

test("a watch can be stopped and started again", async () => {
  const fd = openNetlink();
  for (let round = 0; round < 3; round++) {
    native.socketSend(fd, linkDump());
    await new Promise<void>((resolve) => {
      native.pollStart(fd, () => {
        while (native.socketReceive(fd, 65536) !== undefined);
        native.pollStop(fd);
        resolve();
      });
      assert.equal(errorOf(() => native.pollStart(fd, () => undefined)).code, "EEXIST");
    });
  }
  native.socketClose(fd);
});

test("what a watch's callback throws reaches the process as an uncaught exception", async () => {
  const worker = new Worker(
    `const { workerData } = require("node:worker_threads");
     const native = require(workerData.addon);
     const fd = native.socketOpen(16, 3, 0);
     native.socketSend(fd, workerData.request);
     native.pollStart(fd, () => { throw new Error("from the callback"); });`,
    { eval: true, workerData: { addon: addonPath(), request: linkDump() } },
  );
  const [error] = (await once(worker, "error")) as [Error];
  assert.equal(error.message, "from the callback");
});

test("a worker that ends while it watches leaves nothing open", async () => {
  const worker = new Worker(
    `const { workerData, parentPort } = require("node:worker_threads");
     const native = require(workerData.addon);
     for (let i = 0; i < 3; i++) native.pollStart(native.socketOpen(16, 3, 0), () => undefined);
     native.regexTest(native.regexCompile("a"), Buffer.from("a"));
     parentPort.postMessage("watching");`,
    { eval: true, workerData: { addon: addonPath() } },
  );
  await once(worker, "message");
  assert.equal(await worker.terminate(), 1);
});

test("a closed socket throws EBADF, and its number closes nothing else", () => {
  const fd = openNetlink();
  native.socketClose(fd);
  const file = openSync("/dev/null", "r");
  assert.equal(file, fd);
  native.socketClose(fd);
  closeSync(file);
  assert.equal(errorOf(() => native.socketSend(fd, Buffer.alloc(1))).code, "EBADF");
  assert.equal(errorOf(() => native.socketReceive(fd, 10)).code, "EBADF");
  assert.equal(errorOf(() => native.socketOption(fd, 1, 8, 4096)).code, "EBADF");
  assert.equal(errorOf(() => native.socketBind(fd, kernelAddress())).code, "EBADF");
  assert.equal(errorOf(() => native.pollStart(-1, () => undefined)).code, "EBADF");
});

test("errors of sockets carry the call and the socket", () => {
  const error = errorOf(() => native.socketOpen(9999, SOCK_RAW, 0));
  assert.deepEqual([error.code, error.call], ["EAFNOSUPPORT", "socketOpen"]);
  assert.match(error.object, /domain 9999/);
  const fd = openNetlink();
  const refused = errorOf(() => native.socketOption(fd, 1, 9999, Buffer.alloc(4)));
  assert.deepEqual([refused.code, refused.object], ["ENOPROTOOPT", `socket ${fd}`]);
  assert.equal(errorOf(() => native.socketBind(fd, Buffer.alloc(500))).code, "EINVAL");
  native.socketClose(fd);
});

test("an interface that does not exist has index 0", () => {
  assert.equal(native.interfaceIndex("no-such-if"), 0);
  assert.equal(native.interfaceIndex("a-name-longer-than-the-kernel-has"), 0);
});

/** The addon as src/native.ts loads it. */
function addonPath(): string {
  return new URL("../../native/xlb.node", import.meta.url).pathname;
}
