/** The order in which ipvsadm lists services and real servers: what its comparison and the C library's sort make of it. */
import { parseAddress } from "../../dataplane/netlink/address.ts";
import type { Protocol } from "../../model/service.ts";
import type { ListedServer, ListedService } from "./table.ts";

const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Record<Protocol, number>;
const familyNumbers = { ipv4: 2, ipv6: 10 } as const;

/** By firewall mark (none is the least), family, protocol, address, port. */
export function sortServices<T extends Pick<ListedService, "identity">>(services: readonly T[]): T[] {
  return sortByWords(services, ({ identity }) =>
    identity.kind === "mark"
      ? [identity.mark, familyNumbers[identity.family]]
      : [
          0,
          identity.address.includes(":") ? familyNumbers.ipv6 : familyNumbers.ipv4,
          protocolNumbers[identity.protocol],
          ...wordsOfAddress(identity.address),
          identity.port,
        ],
  );
}

/** By address and port. */
export function sortServers<T extends Pick<ListedServer, "address" | "port">>(servers: readonly T[]): T[] {
  return sortByWords(servers, ({ address, port }) => [...wordsOfAddress(address), port]);
}

/** Four of 32 bits; an IPv4 address is the first. */
function wordsOfAddress(address: string): number[] {
  const bytes = Buffer.alloc(16);
  parseAddress(address)?.bytes.copy(bytes);
  return [0, 4, 8, 12].map((offset) => bytes.readUInt32BE(offset));
}

function sortByWords<T>(items: readonly T[], wordsOf: (item: T) => readonly number[]): T[] {
  const keyed = items.map((item) => ({ item, words: wordsOf(item) }));
  return mergeSort(keyed, (a, b) => compareWords(a.words, b.words)).map(({ item }) => item);
}

/** The difference of 32-bit numbers in 32 bits, which is negative for 100.0.0.0 - 200.0.0.0, and for 200.0.0.0 - 10.0.0.0. */
function compareWords(a: readonly number[], b: readonly number[]): number {
  for (const [index, word] of a.entries()) {
    const difference = (word - (b[index] ?? 0)) | 0;
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * As qsort(3) of glibc does it. It matters, because that comparison goes round in circles: every other way to sort would
 * list addresses that are far apart differently.
 */
function mergeSort<T>(items: readonly T[], compare: (a: T, b: T) => number): T[] {
  if (items.length <= 1) return [...items];
  const middle = items.length >> 1;
  const left = mergeSort(items.slice(0, middle), compare);
  const right = mergeSort(items.slice(middle), compare);
  const merged: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    merged.push(compare(left[l]!, right[r]!) <= 0 ? left[l++]! : right[r++]!);
  }
  return [...merged, ...left.slice(l), ...right.slice(r)];
}
