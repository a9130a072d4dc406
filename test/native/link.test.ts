import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmdirSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import {
  cannotLoad,
  collectGarbage,
  errorOf,
  ip,
  namespaceFolder,
  native,
  openObject,
  runInNamespace,
  u32,
} from "./fixture.ts";
import type { MapHandle, ObjectHandle, ProgramHandle } from "../../src/native.ts";

const nativeMode = 1;
const genericMode = 2;
const bpffsMagic = 0xcafe4a11;

if (namespaceFolder !== undefined) {
  const folder = namespaceFolder;
  describe("in namespaces of its own", () => {
    let object: ObjectHandle;
    let answer: ProgramHandle;
    let drop: ProgramHandle;
    let array: MapHandle;
    let veth = 0;
    const lo = native.interfaceIndex("lo");

    before(() => {
      ip("link set lo up");
      ip("link add near type veth peer name far");
      ip("link set near up");
      ip("link set far up");
      veth = native.interfaceIndex("near");
      native.bpffsMount(folder);
      object = openObject();
      native.objectLoad(object);
      answer = native.objectProgram(object, "answer");
      drop = native.objectProgram(object, "drop");
      array = native.objectMap(object, "array");
      native.objectClose(object);
    });

    test("a BPF filesystem is told from others", () => {
      assert.equal(native.filesystemType(folder), bpffsMagic);
      assert.notEqual(native.filesystemType("/proc"), bpffsMagic);
      assert.equal(errorOf(() => native.filesystemType("/proc/none")).code, "ENOENT");
      assert.equal(errorOf(() => native.bpffsMount("/proc/none")).code, "ENOENT");
    });

    test("what was mounted can be unmounted, once", () => {
      const own = mkdtempSync(join(tmpdir(), "xlb-mount-"));
      native.bpffsMount(own);
      native.bpffsUnmount(own);
      assert.notEqual(native.filesystemType(own), bpffsMagic);
      assert.equal(errorOf(() => native.bpffsUnmount(own)).code, "EINVAL");
      rmdirSync(own);
    });

    test("native mode attaches to veth, closing an unpinned link detaches", () => {
      const link = native.linkAttachXdp(answer, veth, 4);
      const programId = native.programInfo(answer).id;
      assert.deepEqual(native.xdpQuery(veth), { mode: nativeMode, programId });
      const info = native.linkInfo(link);
      assert.ok(info.id > 0);
      assert.deepEqual([info.programId, info.ifindex], [programId, veth]);
      assert.equal(errorOf(() => native.linkAttachXdp(drop, veth, 4)).code, "EBUSY");
      native.linkClose(link);
      native.linkClose(link);
      assert.deepEqual(native.xdpQuery(veth), { mode: 0, programId: 0 });
      assert.equal(errorOf(() => native.linkInfo(link)).code, "EBADF");
    });

    test("native mode is refused by lo, generic mode is not", () => {
      const error = errorOf(() => native.linkAttachXdp(answer, lo, 4));
      assert.deepEqual([error.code, error.call, error.object], ["EOPNOTSUPP", "linkAttachXdp", `interface ${lo}`]);
      const link = native.linkAttachXdp(answer, lo, 2);
      assert.equal(native.xdpQuery(lo).mode, genericMode);
      native.linkClose(link);
    });

    test("left to the kernel, the mode of veth is native", () => {
      const link = native.linkAttachXdp(answer, veth, 0);
      assert.equal(native.xdpQuery(veth).mode, nativeMode);
      native.linkClose(link);
      assert.equal(errorOf(() => native.linkAttachXdp(answer, 0x7ffffff0, 0)).code, "ENODEV");
    });

    test("a pinned link outlives its handle, is adopted, changes its program, and is detached", () => {
      const path = join(folder, "link");
      const link = native.linkAttachXdp(answer, veth, 4);
      native.linkPin(link, path);
      assert.equal(errorOf(() => native.linkPin(link, path)).code, "EEXIST");
      native.linkClose(link);
      assert.deepEqual(native.xdpQuery(veth), { mode: nativeMode, programId: native.programInfo(answer).id });

      const adopted = native.linkOpenPinned(path);
      native.linkUpdate(adopted, drop);
      assert.deepEqual(native.xdpQuery(veth), { mode: nativeMode, programId: native.programInfo(drop).id });
      native.linkDetach(adopted);
      assert.equal(native.xdpQuery(veth).mode, 0);
      assert.equal(native.linkInfo(adopted).ifindex, 0);
      unlinkSync(path);
      native.linkClose(adopted);
      assert.equal(errorOf(() => native.linkOpenPinned(path)).code, "ENOENT");
    });

    test("a link whose handle is lost stays attached", async () => {
      (() => native.linkPin(native.linkAttachXdp(answer, veth, 4), join(folder, "lost")))();
      unlinkSync(join(folder, "lost"));
      await collectGarbage();
      assert.equal(native.xdpQuery(veth).mode, nativeMode);
    });

    test("a link tells when its interface is gone", () => {
      ip("link add gone type veth peer name gone2");
      const link = native.linkAttachXdp(answer, native.interfaceIndex("gone"), 4);
      ip("link del gone");
      assert.equal(native.linkInfo(link).ifindex, 0);
      assert.equal(native.interfaceIndex("gone"), 0);
      native.linkClose(link);
    });

    test("maps and programs are pinned and opened; a pin of another kind is refused", () => {
      mkdirSync(join(folder, "pins"));
      const mapPath = join(folder, "pins", "array");
      const programPath = join(folder, "pins", "answer");
      native.mapPin(array, mapPath);
      native.programPin(answer, programPath);
      const map = native.mapOpenPinned(mapPath);
      assert.equal(native.mapInfo(map).id, native.mapInfo(array).id);
      const program = native.programOpenPinned(programPath);
      assert.equal(native.programInfo(program).id, native.programInfo(answer).id);
      for (const call of [
        () => native.mapOpenPinned(programPath),
        () => native.programOpenPinned(mapPath),
        () => native.linkOpenPinned(mapPath),
      ]) {
        assert.equal(errorOf(call).code, "EINVAL");
      }
      native.mapClose(map);
      native.programClose(program);
      assert.equal(errorOf(() => native.mapPin(array, "/proc/none")).object, "/proc/none");
    });

    test("a map is pinned where the object was told, and taken from there the next time", () => {
      const path = join(folder, "taken");
      const load = (entries?: number): MapHandle => {
        const opened = openObject();
        try {
          native.objectSetPinPath(opened, "array", path);
          if (entries !== undefined) native.objectSetMaxEntries(opened, "array", entries);
          native.objectLoad(opened);
          return native.objectMap(opened, "array");
        } finally {
          native.objectClose(opened);
        }
      };
      const first = load();
      native.mapUpdate(first, u32(1), u32(99), 0);
      const second = load();
      assert.deepEqual(native.mapLookup(second, u32(1)), u32(99));
      const error = errorOf(() => load(5));
      assert.equal(error.code, "EINVAL");
      assert.match(error.log, /couldn't reuse pinned map .*parameter mismatch/);
      native.mapClose(first);
      native.mapClose(second);
    });

    test("a netlink socket that has lost messages says ENOBUFS and is watched on", async () => {
      const [AF_NETLINK, SOCK_RAW, SOL_SOCKET, SO_RCVBUF, RTMGRP_LINK] = [16, 3, 1, 8, 1];
      const fd = native.socketOpen(AF_NETLINK, SOCK_RAW, 0);
      native.socketOption(fd, SOL_SOCKET, SO_RCVBUF, 1);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      address.writeUInt32LE(RTMGRP_LINK, 8);
      native.socketBind(fd, address);
      for (let i = 0; i < 5; i++) ip(`link set near ${i % 2 === 0 ? "down" : "up"}`);
      const errors: string[] = [];
      let asked = false;
      await new Promise<void>((resolve) => {
        native.pollStart(fd, () => {
          try {
            while (native.socketReceive(fd, 65536) !== undefined) if (asked) resolve();
          } catch (error) {
            assert.ok(error instanceof Error && "code" in error);
            errors.push(String(error.code));
            return;
          }
          // What had found room is read, so there is room for one more message.
          if (!asked) ip("link set near up");
          asked = true;
        });
      });
      native.socketClose(fd);
      assert.equal(errors[0], "ENOBUFS");
    });
  });
} else {
  test("links, pins and lost messages, in namespaces of their own", { skip: cannotLoad }, () => {
    const { status, output } = runInNamespace(import.meta.filename);
    assert.equal(status, 0, output);
  });
}
