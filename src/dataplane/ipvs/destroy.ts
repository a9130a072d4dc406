import { printIdentity } from "../../model/service.ts";
import type { Native } from "../../native.ts";
import { IpvsClient } from "./client.ts";
import { ipvsIsLoaded } from "./loaded.ts";

/** Takes those of the services out of the kernel's table that are there; `keys` as `printIdentity` prints them. */
export function removeIpvsServices(native: Native, keys: ReadonlySet<string>): number {
  if (keys.size === 0 || !ipvsIsLoaded()) return 0;
  const client = IpvsClient.open(native);
  try {
    const leaving = client.services().filter(({ identity }) => keys.has(printIdentity(identity)));
    for (const { identity } of leaving) client.deleteService(identity);
    return leaving.length;
  } finally {
    client.close();
  }
}
