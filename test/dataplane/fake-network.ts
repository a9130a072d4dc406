/** A network that tests write down instead of asking the kernel. */
import type { Network, NetworkInterface, Resolution } from "../../src/dataplane/xdp/network.ts";

/** `02:00:` and the address's four bytes. */
export function macOf(address: string): Uint8Array {
  return Uint8Array.from([2, 0, ...address.split(".").map(Number)]);
}

export const sourceMac = Uint8Array.from([2, 0, 0, 0, 0, 1]);

/** Every IPv4 address is resolved, to a MAC address of its own on `ifindex`, unless told otherwise. */
export class FakeNetwork implements Network {
  readonly resolutions = new Map<string, Resolution>();
  present: NetworkInterface[] = [];
  own: string[] = [];
  watched: string[] = [];
  readonly #ifindex: number;
  readonly #listeners: (() => void)[] = [];

  constructor(ifindex = 1) {
    this.#ifindex = ifindex;
  }

  interfaces(): readonly NetworkInterface[] {
    return this.present;
  }

  ownAddresses(): readonly string[] {
    return this.own;
  }

  resolve(address: string): Resolution {
    const given = this.resolutions.get(address);
    if (given !== undefined) return given;
    if (address.includes(":")) return { kind: "unresolved", reason: "IPv6 is not resolved here" };
    return {
      kind: "resolved",
      hop: { ifindex: this.#ifindex, vlan: 0, mtu: 1500, sourceMac, source: "10.0.0.1", mac: macOf(address) },
    };
  }

  watch(addresses: Iterable<string>): void {
    this.watched = [...addresses];
  }

  derive(): readonly NetworkInterface[] {
    return this.present.filter(({ loopback }) => !loopback);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  async run(): Promise<void> {}

  close(): void {}
}
