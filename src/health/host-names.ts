import { lookup, reverse } from "node:dns/promises";

interface Entry<T> {
  value: T | undefined;
  error: unknown;
  /** On the clock of `performance.now()`. */
  freshUntilMs: number;
  pending: Promise<void> | undefined;
}

const freshMs = 60_000;
const retryMs = 5_000;

/**
 * Host names for the few checks that meet one: in a redirect, in a whole address as request, and the names under which
 * a file in the maintenance directory may stand. An answer is kept, and renewed behind the back of whoever asks, so a
 * slow name server delays a check at most the first time.
 */
export class HostNames {
  readonly #addresses = new Map<string, Entry<string>>();
  readonly #names = new Map<string, Entry<string>>();

  /** The first address of the name. Rejects while no answer was ever had. */
  async address(name: string): Promise<string> {
    const entry = renewed(this.#addresses, name, async () => (await lookup(name)).address);
    if (entry.value === undefined) await entry.pending;
    if (entry.value === undefined) throw new Error(`cannot resolve ${name}`, { cause: entry.error });
    return entry.value;
  }

  /** The name of an address as far as it is known by now. */
  nameOf(address: string): string | undefined {
    return renewed(this.#names, address, async () => (await reverse(address))[0] ?? "").value;
  }
}

/** The entry of a key, with a renewal under way if it is old. */
function renewed<T>(entries: Map<string, Entry<T>>, key: string, ask: () => Promise<T>): Entry<T> {
  let entry = entries.get(key);
  if (entry === undefined) {
    entry = { value: undefined, error: undefined, freshUntilMs: 0, pending: undefined };
    entries.set(key, entry);
    if (entries.size > 20_000) entries.delete(entries.keys().next().value ?? key);
  }
  if (entry.pending === undefined && performance.now() >= entry.freshUntilMs) entry.pending = renew(entry, ask);
  return entry;
}

async function renew<T>(entry: Entry<T>, ask: () => Promise<T>): Promise<void> {
  try {
    entry.value = await ask();
    entry.freshUntilMs = performance.now() + freshMs;
  } catch (error) {
    // The last good answer goes on serving; without one the caller is told why.
    entry.error = error;
    entry.freshUntilMs = performance.now() + retryMs;
  } finally {
    entry.pending = undefined;
  }
}
