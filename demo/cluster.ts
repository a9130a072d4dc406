/** The demo's cluster: the tutorial's addresses and its ldirectord.cf byte for byte, with a few more clients. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot, tutorialPlan } from "../test/support/lab.ts";
import type { AddressPlan } from "../test/support/lab.ts";

export const plan: AddressPlan = {
  ...tutorialPlan,
  clients: Array.from({ length: 8 }, (_, index) => `172.20.0.${11 + index}/24`),
};

export const configuration = readFileSync(join(projectRoot, "demo", "ldirectord.cf"), "utf8");

/** A second service: another port, weights 3 and 1. */
export const weightedService = `
virtual=10.10.10.53:8080
	fallback=127.0.0.1:8080
	real=192.168.200.102:8080 gate 3
	real=192.168.200.103:8080 gate 1
	service=http
	request="/check.txt"
	receive="webserverisworking"
	scheduler=wrr
	protocol=tcp
	checktype=negotiate
`;
