/**
 * The kernel's rr and wrr by its own algorithm: a list with a head, walked with list_for_each_entry_continue. Kept as
 * close to the source as TypeScript allows, so that it can be compared line by line (Linux 6.12, net/netfilter/ipvs).
 */

interface Destination {
  readonly id: number;
  weight: number;
}

/** `svc->destinations`; additions go to the head, as ip_vs_add_dest does. */
abstract class Service {
  protected list: Destination[] = [];
  /** `isOverloaded`: whether a destination has IP_VS_DEST_F_OVERLOAD. */
  abstract schedule(isOverloaded?: (id: number) => boolean): number;

  add(id: number, weight: number): void {
    this.list.unshift({ id, weight });
    this.added();
  }

  remove(id: number): void {
    const index = this.list.findIndex((destination) => destination.id === id);
    const [destination] = this.list.splice(index, 1);
    if (destination !== undefined) this.removed(destination, index);
  }

  edit(id: number, weight: number): void {
    const destination = this.list.find((candidate) => candidate.id === id);
    if (destination !== undefined) destination.weight = weight;
    this.updated();
  }

  protected added(): void {}
  /** `index`: where it stood. */
  protected removed(_destination: Destination, _index: number): void {}
  protected updated(): void {}

  /** The destinations behind `from`, up to the end of the list; undefined is the head. */
  protected *after(from: Destination | undefined): Generator<Destination> {
    yield* this.list.slice(from === undefined ? 0 : this.list.indexOf(from) + 1);
  }
}

/** ip_vs_rr.c */
class RoundRobin extends Service {
  /** svc->sched_data; undefined is the head. */
  #data: Destination | undefined;

  protected override removed(destination: Destination, index: number): void {
    if (this.#data === destination) this.#data = this.list[index - 1];
  }

  schedule(isOverloaded: (id: number) => boolean = () => false): number {
    const p = this.#data;
    const last = p;
    let from = p;
    let pass = 0;
    do {
      for (const dest of this.after(from)) {
        if (!isOverloaded(dest.id) && dest.weight > 0) {
          this.#data = dest;
          return dest.id;
        }
        if (dest === last) return 0;
      }
      from = undefined;
      pass++;
    } while (pass < 2 && p !== undefined);
    return 0;
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** ip_vs_wrr.c */
class WeightedRoundRobin extends Service {
  /** mark->cl; undefined is the head. */
  #cl: Destination | undefined;
  #cw = 0;
  #mw = 0;
  #di = 1;

  #gcdWeight(): number {
    let g = 0;
    for (const { weight } of this.list) if (weight > 0) g = g > 0 ? gcd(weight, g) : weight;
    return g || 1;
  }

  #maxWeight(): number {
    return Math.max(0, ...this.list.map(({ weight }) => weight));
  }

  #destChanged(): void {
    this.#cl = undefined;
    this.#di = this.#gcdWeight();
    this.#mw = this.#maxWeight() - (this.#di - 1);
    if (this.#cw > this.#mw || this.#cw === 0) this.#cw = this.#mw;
    else if (this.#di > 1) this.#cw = Math.trunc(this.#cw / this.#di) * this.#di + 1;
  }

  protected override added(): void {
    this.#destChanged();
  }

  protected override removed(): void {
    this.#destChanged();
  }

  protected override updated(): void {
    this.#destChanged();
  }

  schedule(isOverloaded: (id: number) => boolean = () => false): number {
    if (this.#mw === 0) return 0;
    const last = this.#cl;
    let dest: Destination | undefined = last;
    let stop: Destination | undefined;
    let lastPass = false;
    let restarted = false;
    for (;;) {
      for (const candidate of this.after(dest)) {
        if (!isOverloaded(candidate.id) && candidate.weight >= this.#cw) {
          this.#cl = candidate;
          return candidate.id;
        }
        if (candidate === stop) {
          this.#cl = candidate;
          return 0;
        }
      }
      dest = undefined;
      this.#cw -= this.#di;
      if (this.#cw <= 0) {
        this.#cw = this.#mw;
        if (lastPass || last === undefined) {
          this.#cl = undefined;
          return 0;
        }
        restarted = true;
      }
      lastPass = this.#cw <= this.#di;
      if (lastPass && restarted && last !== undefined) stop = last;
    }
  }
}

export const kernelSchedulers = { rr: RoundRobin, wrr: WeightedRoundRobin } as const;
