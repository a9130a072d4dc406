/**
 * Numbers and places in the maps: ids of services and real servers, regions of ring and tree arrays. Nothing is
 * remembered outside the maps: both allocators are made from what the records there already use.
 */

/** Ids from 1 to `limit` - 1. The one that has been free for longest is given next, so a stale reference is unlikely. */
export class IdAllocator {
  readonly #limit: number;
  readonly #released: number[] = [];
  #next: number;

  /** `used`: the ids found in the maps. */
  constructor(limit: number, used: Iterable<number>) {
    this.#limit = limit;
    const taken = new Set(used);
    let highest = 0;
    for (const id of taken) highest = Math.max(highest, id);
    for (let id = 1; id < highest; id++) if (!taken.has(id)) this.#released.push(id);
    this.#next = highest + 1;
  }

  /** Undefined if none is left. */
  take(): number | undefined {
    return this.#next < this.#limit ? this.#next++ : this.#released.shift();
  }

  release(id: number): void {
    this.#released.push(id);
  }

  get free(): number {
    return this.#released.length + this.#limit - this.#next;
  }
}

export interface Region {
  readonly offset: number;
  readonly length: number;
}

/** How long a packet may still walk what it has just found, with a wide margin; milliseconds. */
const graceMs = 1000;

/** Places in an array map: first fit. What is released rests for a second, as a packet may be reading it. */
export class RegionAllocator {
  readonly #size: number;
  /** Ordered by offset; neighbours are joined. */
  #free: { offset: number; length: number }[] = [];
  #resting: { readonly region: Region; readonly until: number }[] = [];

  /** `used`: regions found in the maps; those of length 0 do not count. */
  constructor(size: number, used: Iterable<Region>) {
    this.#size = size;
    let end = 0;
    const regions = [...used].filter((region) => region.length > 0).sort((a, b) => a.offset - b.offset);
    for (const region of regions) {
      if (region.offset > end) this.#free.push({ offset: end, length: region.offset - end });
      end = Math.max(end, region.offset + region.length);
    }
    if (end < size) this.#free.push({ offset: end, length: size - end });
  }

  /** Undefined if there is no room now. `now` is in milliseconds of a monotonic clock. */
  take(length: number, now: number): Region | undefined {
    if (length === 0) return { offset: 0, length: 0 };
    this.#settle(now);
    const index = this.#free.findIndex((extent) => extent.length >= length);
    const extent = this.#free[index];
    if (extent === undefined) return undefined;
    const region = { offset: extent.offset, length };
    extent.offset += length;
    extent.length -= length;
    if (extent.length === 0) this.#free.splice(index, 1);
    return region;
  }

  release(region: Region, now: number): void {
    if (region.length > 0) this.#resting.push({ region, until: now + graceMs });
  }

  /** Milliseconds until everything released is free again; 0 if nothing rests. */
  settlesIn(now: number): number {
    return this.#resting.reduce((longest, { until }) => Math.max(longest, until - now), 0);
  }

  get size(): number {
    return this.#size;
  }

  #settle(now: number): void {
    const due = this.#resting.filter(({ until }) => until <= now);
    if (due.length === 0) return;
    this.#resting = this.#resting.filter(({ until }) => until > now);
    const extents = [...this.#free, ...due.map(({ region }) => ({ ...region }))].sort((a, b) => a.offset - b.offset);
    this.#free = [];
    for (const extent of extents) {
      const last = this.#free.at(-1);
      if (last !== undefined && last.offset + last.length === extent.offset) last.length += extent.length;
      else this.#free.push(extent);
    }
  }
}
