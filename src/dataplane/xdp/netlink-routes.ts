import { addressOf, prefixOf } from "../netlink/address.ts";
import type { Address } from "../netlink/address.ts";

/** How the kernel would send to an address. */
export type Route =
  | { readonly kind: "local" }
  | {
      readonly kind: "unicast";
      readonly ifindex: number;
      /** Undefined: the destination itself is the neighbour. */
      readonly gateway: Address | undefined;
      /** Of the route; 0: the interface's. */
      readonly mtu: number;
      /** The address that the kernel would send from. */
      readonly source?: string;
    }
  /** `because` completes "no route to ADDRESS". */
  | { readonly kind: "none"; readonly because: string };

interface Prefix {
  /** Several paths: the answer depends on the whole address. */
  perAddress: boolean;
  answer: Route | undefined;
  generation: number;
}

interface FamilyPrefixes {
  readonly byLength: Map<number, Map<bigint, Prefix>>;
  /** Longest first. */
  lengths: number[];
}

/** Answers kept for single addresses before all of them are dropped. */
const MAXIMUM_ADDRESS_ANSWERS = 65536;

/**
 * The kernel's answers to "how would you send to this address?", remembered per prefix, so that thousands of addresses in
 * one subnet cost one question. Two addresses whose longest known prefix, over the routes of all tables and the
 * destinations of all rules, is the same, have all their prefixes in common, hence the same look-up in every table and the
 * same answer. Prefixes that no longer exist only make the partition finer. With several paths the kernel chooses by the
 * whole address, so those answers are kept by address.
 */
export class RouteCache {
  readonly #ask: (address: Address) => Route;
  #families = new Map<number, FamilyPrefixes>();
  #answersByAddress = new Map<string, Route>();
  #generation = 0;
  #size = 0;

  constructor(ask: (address: Address) => Route) {
    this.#ask = ask;
  }

  /** Prefixes known; grows with every new one until {@link clear}. */
  get size(): number {
    return this.#size;
  }

  /** Forgets the answers, for after any event that can change one. */
  forget(): void {
    this.#generation++;
    this.#answersByAddress.clear();
  }

  /** Forgets everything, for before a dump. */
  clear(): void {
    this.forget();
    this.#families.clear();
    this.#size = 0;
  }

  /** `addressSize` is 4 or 16 bytes; `destination` undefined is the default route. */
  add(addressSize: number, destination: Uint8Array | undefined, length: number, multipath: boolean): void {
    const family = this.#family(addressSize);
    let prefixes = family.byLength.get(length);
    if (prefixes === undefined) {
      prefixes = new Map();
      family.byLength.set(length, prefixes);
      family.lengths = [...family.byLength.keys()].sort((a, b) => b - a);
    }
    const value = destination === undefined ? 0n : prefixOf(addressOf(destination), length);
    const prefix = prefixes.get(value);
    if (prefix === undefined) {
      prefixes.set(value, { perAddress: multipath, answer: undefined, generation: -1 });
      this.#size++;
    } else if (multipath) {
      prefix.perAddress = true;
    }
  }

  look(address: Address): Route {
    let longest: Prefix | undefined;
    let perAddress = false;
    for (const prefix of this.#covering(address)) {
      if (prefix.generation === this.#generation && prefix.answer !== undefined && longest === undefined) {
        return prefix.answer;
      }
      longest ??= prefix;
      perAddress ||= prefix.perAddress;
    }
    if (longest === undefined || perAddress) return this.#lookByAddress(address);
    const answer = this.#ask(address);
    longest.answer = answer;
    longest.generation = this.#generation;
    return answer;
  }

  #lookByAddress(address: Address): Route {
    let answer = this.#answersByAddress.get(address.key);
    if (answer === undefined) {
      if (this.#answersByAddress.size >= MAXIMUM_ADDRESS_ANSWERS) this.#answersByAddress.clear();
      answer = this.#ask(address);
      this.#answersByAddress.set(address.key, answer);
    }
    return answer;
  }

  /** The known prefixes of an address, longest first. */
  *#covering(address: Address): Generator<Prefix> {
    const family = this.#family(address.bytes.length);
    for (const length of family.lengths) {
      const prefix = family.byLength.get(length)?.get(prefixOf(address, length));
      if (prefix !== undefined) yield prefix;
    }
  }

  #family(addressSize: number): FamilyPrefixes {
    let family = this.#families.get(addressSize);
    if (family === undefined) {
      family = { byLength: new Map(), lengths: [] };
      this.#families.set(addressSize, family);
      this.add(addressSize, undefined, 0, false);
    }
    return family;
  }
}
