import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTlsPolicy } from "../../src/daemon/tls-policy.ts";

const directory = mkdtempSync(join(tmpdir(), "xlb-tls-policy-"));
after(() => rmSync(directory, { recursive: true }));

test("--verify-tls off, and its absence, accept any certificate", () => {
  assert.equal(readTlsPolicy(undefined).verify, false);
  assert.equal(readTlsPolicy("off").verify, false);
});

test("--verify-tls FILE verifies by the authorities in it", () => {
  const file = join(directory, "ca.pem");
  const pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
  writeFileSync(file, pem);
  assert.deepEqual(readTlsPolicy(file), { verify: true, ca: pem });
});

test("--verify-tls refuses a file without certificates, and one that is not there", () => {
  const file = join(directory, "empty.pem");
  writeFileSync(file, "");
  assert.throws(() => readTlsPolicy(file), /empty\.pem has no certificate in PEM$/);
  assert.throws(() => readTlsPolicy(join(directory, "none.pem")), /cannot read the authorities .*none\.pem/);
});
