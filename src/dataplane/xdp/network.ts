/** How a packet gets to a next hop: what a frame needs. Both MAC addresses are 6 bytes. */
export interface NextHop {
  /** Physical interface, also when a VLAN interface lies on it. */
  readonly ifindex: number;
  /** Tag to leave with; 0: none. */
  readonly vlan: number;
  /** Bytes. */
  readonly mtu: number;
  readonly sourceMac: Uint8Array;
  /** The address that the kernel would send from; absent: it has none. */
  readonly source?: string;
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
  /** By ifindex. */
  interfaces(): readonly NetworkInterface[];
  /** Every address of this machine, IPv4 and IPv6, without prefix length. */
  ownAddresses(): readonly string[];
  /**
   * As the kernel would send to it now: own addresses, 127.0.0.0/8 and ::1 are local; else its route, and the neighbour
   * entry of the gateway or of the address itself (a stale one will do). Asks no neighbour: {@link watch} does.
   */
  resolve(address: string): Resolution;
  /**
   * Replaces the set of addresses whose next hops are kept resolved: asked for at once, then every 5 seconds (with more
   * than 5000 neighbours 1000 a second in turn), so that a MAC which changed silently is noticed after 3 to 8 seconds.
   * Permanent entries of the operator are left alone. Nothing is sent unless {@link run} runs.
   * `gateways`: those of the default routes, too, for packets to anybody.
   */
  watch(addresses: Iterable<string>, gateways?: boolean): void;
  /**
   * The interfaces to attach to, by ifindex:
   * - for each virtual address those that hold it or an address in whose subnet it lies; if there are none (it is on
   *   loopback only, or nowhere) those of the preferred default route;
   * - for each real server that is not local the one its route leaves by.
   * A VLAN interface stands for its physical parent; a bridge, bond or macvlan for itself; loopback is never among them.
   */
  derive(virtualAddresses: readonly string[], realAddresses: readonly string[]): readonly NetworkInterface[];
  /** Called (coalesced) after anything above changed. */
  onChange(listener: () => void): void;
  /** Reads events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** `keepNeighbours`: the kernel goes on keeping those resolved that were watched; else they are given back to it. */
  close(keepNeighbours?: boolean): void;
}
