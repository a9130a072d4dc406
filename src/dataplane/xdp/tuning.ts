/** The settings in the maps that `xlb tune` shows and changes; packets meet a change at once. */
import { existsSync } from "node:fs";
import type { Native } from "../../native.ts";
import { tunings } from "../../model/tuning.ts";
import type { TuningName, Tunings } from "../../model/tuning.ts";
import * as layout from "./layout.generated.ts";
import { isReadableLayout, mapPath } from "./load.ts";
import { MappedArray } from "./maps.ts";
import { NotRunningError } from "./reader.ts";

const { STATE_ESTABLISHED, STATE_FIN_WAIT, STATE_UDP, STATE_SCTP_ESTABLISHED } = layout.connectionState;

/** States whose timeout has a name. */
const timeouts: Readonly<Partial<Record<TuningName, number>>> = {
  timeout_tcp: STATE_ESTABLISHED,
  timeout_tcpfin: STATE_FIN_WAIT,
  timeout_udp: STATE_UDP,
  timeout_sctp: STATE_SCTP_ESTABLISHED,
};

type SettingsMap = MappedArray<layout.Settings>;

/** Index of the 32-bit word. */
function wordOf(name: TuningName): number {
  const state = timeouts[name];
  const { fields } = layout.settings;
  if (state !== undefined) return fields.timeout.offset / 4 + state;
  // What is no timeout has the name of a member.
  return fields[name as keyof typeof fields].offset / 4;
}

export function readTunings(settings: SettingsMap): Tunings {
  const words = new Uint32Array(settings.memory);
  return Object.fromEntries(tunings.map(({ name }) => [name, words[wordOf(name)] ?? 0])) as Tunings; // every name is there
}

/** Others stay as they are. */
export function writeTunings(settings: SettingsMap, values: Partial<Tunings>): void {
  const words = new Uint32Array(settings.memory);
  for (const { name } of tunings) {
    const value = values[name];
    if (value !== undefined) words[wordOf(name)] = value;
  }
}

/** Of a running director: changes what is given and returns all. Throws {@link NotRunningError}. */
export function tunePinned(native: Native, bpffs: string, values: Partial<Tunings>): Tunings {
  const path = mapPath(bpffs, "settings");
  if (!existsSync(path)) throw new NotRunningError(bpffs);
  const handle = native.mapOpenPinned(path);
  try {
    const changes = Object.keys(values).length > 0;
    const settings = new MappedArray(native, handle, layout.settings, changes);
    const found = settings.read(0).layout_version;
    if (!isReadableLayout(found)) {
      throw new Error(
        `the maps pinned in ${bpffs} have layout version ${found}, this xlb has ${layout.LAYOUT_VERSION}`,
      );
    }
    writeTunings(settings, values);
    return readTunings(settings);
  } finally {
    native.mapClose(handle);
  }
}
