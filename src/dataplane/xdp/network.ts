/** How a packet gets to a next hop: what a frame needs. Both MAC addresses are 6 bytes. */
export interface NextHop {
  /** Physical interface, also when a VLAN interface lies on it. */
  readonly ifindex: number;
  /** Tag to leave with; 0: none. */
  readonly vlan: number;
  /** Bytes. */
  readonly mtu: number;
  readonly sourceMac: Uint8Array;
  readonly mac: Uint8Array;
}

export type Resolution =
  | { readonly kind: "resolved"; readonly hop: NextHop }
  /** An address of this machine. */
  | { readonly kind: "local" }
  | { readonly kind: "unresolved"; readonly reason: string };

export interface NetworkInterface {
  readonly name: string;
  readonly ifindex: number;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly up: boolean;
  /** Carrier: false when the cable is out. */
  readonly running: boolean;
  readonly mtu: number;
  readonly loopback: boolean;
  /** Of a VLAN interface: its physical interface and id. */
  readonly vlan?: { readonly parent: number; readonly id: number };
  /** `address/prefix length`. */
  readonly addresses: readonly string[];
}

/** What the kernel knows of the network, kept fresh by netlink. Lives in the namespace it was opened in. */
export interface Network {
  interfaces(): readonly NetworkInterface[];
  /** Every address of this machine, IPv4 and IPv6, without prefix length. */
  ownAddresses(): readonly string[];
  resolve(address: string): Resolution;
  /** Replaces the set of addresses whose next hops are kept resolved (asked for again before they go stale). */
  watch(addresses: Iterable<string>): void;
  /** Interfaces that hold or route the virtual addresses, and those towards the real servers; loopback never. */
  derive(virtualAddresses: readonly string[], realAddresses: readonly string[]): readonly NetworkInterface[];
  /** Called (coalesced) after anything above changed. */
  onChange(listener: () => void): void;
  /** Reads events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  close(): void;
}
