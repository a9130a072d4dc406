import assert from "node:assert/strict";
import { test } from "node:test";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import type { DirectorMaps } from "../../src/dataplane/xdp/maps.ts";
import * as layout from "../../src/dataplane/xdp/layout.generated.ts";
import { readSlots } from "../../src/dataplane/xdp/stored.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { RealServer } from "../../src/model/service.ts";
import { add, addService, cannotRun, edit, PlaneFolder, real, remove, service, web } from "./planes.ts";

const { SERVICE_SLOT_REPLY_IPV4, SERVICE_SLOT_STATION } = layout.serviceSlotKind;

function withMaps<T>(folder: PlaneFolder, look: (maps: DirectorMaps) => T): T {
  const maps = openMaps(folder.native, folder.bpffs, false);
  try {
    return look(maps);
  } finally {
    maps.close();
  }
}

function slots(maps: DirectorMaps, kind: number): layout.ServiceSlot[] {
  return [...readSlots(maps)].map(({ slot }) => slot).filter((slot) => slot.kind === kind);
}

test(
  "methods, tunnels and the slots of replies are as applied, also for a daemon that comes later",
  { skip: cannotRun },
  async () => {
    const folder = new PlaneFolder();
    await folder.open();
    const other = { ...web, address: "10.10.10.54" };
    const gue: RealServer = {
      ...real("10.1.0.2"),
      method: "ipip",
      tunnel: { type: "gue", port: 6080, checksum: "full" },
    };
    const masq: RealServer = { ...real("10.1.0.3", 1, 8080), method: "masq" };
    await folder.apply(
      addService(service("rr")),
      add({ ...real("10.1.0.1"), method: "ipip" }),
      add(gue),
      add(masq),
      addService(service("rr", other)),
      add(masq, other),
    );
    const check = (): void => {
      const state = folder.plane.read();
      const found = state.services.find(({ identity }) => printIdentity(identity) === printIdentity(web));
      assert.deepEqual(found?.realServers, [{ ...real("10.1.0.1"), method: "ipip" }, gue, masq]);
      withMaps(folder, (maps) => {
        const tunnels = Array.from({ length: 5 }, (_, id) => maps.tunnels.read(id + 1)).filter(
          ({ overhead }) => overhead > 0,
        );
        assert.deepEqual(
          tunnels.map(({ overhead, port, source }) => ({ overhead, port, source: source[3] })),
          [
            { overhead: 20, port: 0, source: 0x0a000001 },
            { overhead: 32, port: 6080, source: 0x0a000001 },
          ],
        );
        const replies = slots(maps, SERVICE_SLOT_REPLY_IPV4);
        assert.deepEqual(
          replies.map(({ address, port, protocol }) => [address[3], port, protocol]),
          [[0x0a010003, 8080, 6]],
          "both services share the endpoint's slot",
        );
        const [next] = maps.sameEndpoints.read(replies[0]?.service ?? 0, 1);
        assert.ok(next !== undefined && next > 0 && next !== replies[0]?.service);
        assert.equal(maps.settings.read(0).masquerades, 1);
      });
    };
    check();
    await folder.open();
    check();

    await folder.apply(edit({ ...masq, method: "gate", port: 8080 }), edit({ ...masq, method: "gate" }, other));
    withMaps(folder, (maps) => {
      assert.deepEqual(slots(maps, SERVICE_SLOT_REPLY_IPV4), []);
      assert.equal(maps.settings.read(0).masquerades, 0);
    });
  },
);

test(
  "where this machine is a real server, the others are known by their MAC addresses",
  { skip: cannotRun },
  async () => {
    const folder = new PlaneFolder();
    folder.network.resolutions.set("10.1.0.9", { kind: "local" });
    await folder.open();
    const stations = () => withMaps(folder, (maps) => slots(maps, SERVICE_SLOT_STATION).length);
    await folder.apply(addService(service("rr")), add(real("10.1.0.1")), add(real("10.1.0.2")));
    assert.equal(stations(), 0);
    await folder.apply(add(real("10.1.0.9")));
    assert.equal(stations(), 2);
    await folder.open();
    assert.equal(stations(), 2);
    await folder.apply(remove("10.1.0.9"));
    assert.equal(stations(), 0);
  },
);
