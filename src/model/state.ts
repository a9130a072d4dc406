import type { VirtualService } from "./service.ts";

/** Seconds, as `ipvsadm --set tcp tcpfin udp`: an established TCP connection, one after a FIN, UDP. */
export interface Timeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

/** What the director does, desired or actual: the same type, so that one diff tells what to change. */
export interface DirectorState {
  readonly services: readonly VirtualService[];
}
