import { printIdentity, realServerKey } from "./service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "./service.ts";

/** One idempotent step from an actual to a desired state. Adding a service does not add its real servers. */
export type Change =
  | { readonly kind: "add-service"; readonly service: VirtualService }
  | { readonly kind: "edit-service"; readonly service: VirtualService }
  | { readonly kind: "remove-service"; readonly identity: ServiceIdentity }
  | { readonly kind: "add-real-server"; readonly identity: ServiceIdentity; readonly realServer: RealServer }
  | { readonly kind: "edit-real-server"; readonly identity: ServiceIdentity; readonly realServer: RealServer }
  | {
      readonly kind: "remove-real-server";
      readonly identity: ServiceIdentity;
      readonly address: string;
      readonly port: number;
    };

/** One line for logs and golden files. */
export function printChange(change: Change): string {
  switch (change.kind) {
    case "add-service":
    case "edit-service":
      return `${change.kind} ${printIdentity(change.service.identity)} ${change.service.scheduler}`;
    case "remove-service":
      return `${change.kind} ${printIdentity(change.identity)}`;
    case "add-real-server":
    case "edit-real-server":
      return (
        `${change.kind} ${printIdentity(change.identity)} ${realServerKey(change.realServer)} ` +
        `${change.realServer.method} weight ${change.realServer.weight}`
      );
    case "remove-real-server":
      return `${change.kind} ${printIdentity(change.identity)} ${realServerKey(change)}`;
  }
}
