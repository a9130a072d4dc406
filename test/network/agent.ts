/**
 * Runs a Network in the namespace this process was started in, at the orders of a test: one call as an IPC message, one
 * reply, and a message for every change. See namespaces.ts.
 */
import { setMaxListeners } from "node:events";
import { openNetwork } from "../../src/dataplane/xdp/netlink-network.ts";
import { loadNative } from "../../src/native.ts";
import type { AgentCall, AgentMessage } from "./namespaces.ts";

function send(message: AgentMessage): void {
  process.send?.(message);
}

async function main(): Promise<void> {
  const logged: string[] = [];
  const keep = (_object: object, message: string): number => logged.push(message);
  const receiveBuffer = Number(process.argv[2] ?? 0);
  const network = await openNetwork(
    loadNative(),
    { debug: keep, info: keep, warn: keep },
    receiveBuffer === 0 ? {} : { receiveBuffer },
  );
  let changes = 0;
  network.onChange(() => {
    changes++;
    send({ kind: "change", changes });
  });
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  process.on("message", (call: AgentCall) => {
    try {
      send({ kind: "reply", id: call.id, value: answer(call) });
    } catch (error) {
      send({ kind: "error", id: call.id, message: String(error) });
    }
    if (call.method === "close") abort.abort();
  });
  function answer(call: AgentCall): unknown {
    switch (call.method) {
      case "interfaces":
        return network.interfaces();
      case "ownAddresses":
        return network.ownAddresses();
      case "resolve":
        return call.addresses.map((address) => network.resolve(address));
      case "watch":
        network.watch(call.addresses);
        return undefined;
      case "derive":
        return network.derive(call.addresses, call.realAddresses ?? []);
      case "logged":
        return logged;
      case "usage":
        return process.cpuUsage();
      case "stall":
        // Keeps the event loop from reading for a while, as a busy process would.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, call.milliseconds ?? 0);
        return undefined;
      case "close":
        return undefined;
    }
  }
  send({ kind: "ready" });
  await network.run(abort.signal);
  network.close();
  process.disconnect();
}

await main();
