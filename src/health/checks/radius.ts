import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { isIPv4 } from "node:net";
import { Address6 } from "ip-address";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { constantCheck } from "../check.ts";
import { askByDatagram } from "../datagrams.ts";

/** RFC 2865, section 4: code, identifier, length (network byte order), authenticator, attributes. */
const headerLength = 20;
const codes = { accessRequest: 1, accessAccept: 2, accessReject: 3, accessChallenge: 11 } as const;
/** RFC 2865, RFC 3162 and RFC 3579. */
const attributes = {
  userName: 1,
  userPassword: 2,
  nasIpAddress: 4,
  messageAuthenticator: 80,
  nasIpv6Address: 95,
} as const;
/** When the request is repeated, milliseconds. */
const resendAfterMs = [1000, 3000, 7000, 15_000];
const longestLogin = 253;
const longestPassword = 128;
const longestAnswer = 4096;

/**
 * radius: an Access-Request with login and password (PAP), signed with the secret; up if it is accepted. As ldirectord
 * 4.12, but with a Message-Authenticator, without which servers need not answer any more, and repeated within the time
 * allowed.
 */
export function prepareRadius(spec: CheckSpec): Check {
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to ask" });
  if (Buffer.byteLength(spec.login) > longestLogin)
    return constantCheck({ up: false, detail: "the login is too long" });
  if (Buffer.byteLength(spec.password) > longestPassword) {
    return constantCheck({ up: false, detail: "the password is too long" });
  }
  return { timeoutMs: spec.checkTimeoutMs, attempt: (signal) => ask(spec, signal) };
}

async function ask(spec: CheckSpec, signal: AbortSignal): Promise<CheckOutcome> {
  const { address, port, secret } = spec;
  const [identifier = 0] = randomBytes(1);
  const authenticator = randomBytes(16);
  let heard = "no answer in time, perhaps for a wrong secret";
  const outcome = await askByDatagram(
    {
      host: address,
      port,
      request: (local) => accessRequest(spec, identifier, authenticator, local.address),
      resendAfterMs,
      judge: (answer) => {
        const packet = readPacket(answer);
        if (packet === undefined || packet[1] !== identifier) return undefined;
        if (isSigned(packet, authenticator, secret)) return judgeCode(packet[0]);
        heard = "the answer is not signed with the secret";
        return undefined;
      },
    },
    signal,
  );
  return signal.aborted ? { up: false, detail: heard } : outcome;
}

function judgeCode(code: number | undefined): CheckOutcome {
  switch (code) {
    case codes.accessAccept:
      return { up: true, detail: "access accepted" };
    case codes.accessReject:
      return { up: false, detail: "access rejected" };
    case codes.accessChallenge:
      return { up: false, detail: "more than a password is asked for" };
    default:
      return { up: false, detail: `the answer is of code ${code}` };
  }
}

function accessRequest(
  { login, password, secret }: CheckSpec,
  identifier: number,
  authenticator: Buffer,
  ownAddress: string,
): Buffer {
  const nas = isIPv4(ownAddress)
    ? attribute(attributes.nasIpAddress, Buffer.from(ownAddress.split(".").map(Number)))
    : attribute(attributes.nasIpv6Address, Buffer.from(new Address6(ownAddress).toUnsignedByteArray()));
  const body = Buffer.concat([
    // First, so that a server can judge it before anything else.
    attribute(attributes.messageAuthenticator, Buffer.alloc(16)),
    attribute(attributes.userName, Buffer.from(login)),
    attribute(attributes.userPassword, hidePassword(Buffer.from(password), secret, authenticator)),
    nas,
  ]);
  const packet = Buffer.concat([Buffer.alloc(headerLength), body]);
  packet[0] = codes.accessRequest;
  packet[1] = identifier;
  packet.writeUInt16BE(packet.length, 2);
  authenticator.copy(packet, 4);
  // Over the whole packet, with zeros in its own place.
  createHmac("md5", secret)
    .update(packet)
    .digest()
    .copy(packet, headerLength + 2);
  return packet;
}

function attribute(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, 2 + value.length]), value]);
}

/** RFC 2865, section 5.2: blocks of 16 bytes, each under a digest of the secret and the block before. */
function hidePassword(password: Buffer, secret: string, authenticator: Buffer): Buffer {
  const hidden = Buffer.alloc(Math.max(16, Math.ceil(password.length / 16) * 16));
  password.copy(hidden);
  let previous = authenticator;
  for (let start = 0; start < hidden.length; start += 16) {
    const block = hidden.subarray(start, start + 16);
    const mask = createHash("md5").update(secret).update(previous).digest();
    for (let index = 0; index < 16; index++) block[index] = (block[index] ?? 0) ^ (mask[index] ?? 0);
    previous = block;
  }
  return hidden;
}

/** The packet of a datagram, without what follows it; undefined if it is none. */
function readPacket(datagram: Buffer): Buffer | undefined {
  if (datagram.length < headerLength) return undefined;
  const length = datagram.readUInt16BE(2);
  if (length < headerLength || length > datagram.length || length > longestAnswer) return undefined;
  return datagram.subarray(0, length);
}

/** Whether the answer knows the secret and the question: by its authenticator, and by its Message-Authenticator if any. */
function isSigned(packet: Buffer, requestAuthenticator: Buffer, secret: string): boolean {
  const asked = Buffer.from(packet);
  requestAuthenticator.copy(asked, 4);
  const expected = createHash("md5").update(asked).update(secret).digest();
  if (!timingSafeEqual(expected, packet.subarray(4, headerLength))) return false;
  for (let start = headerLength; start < packet.length;) {
    const [type, length = 0] = packet.subarray(start, start + 2);
    if (length < 2 || start + length > packet.length) return false;
    if (type === attributes.messageAuthenticator) {
      if (length !== 18) return false;
      const signature = Buffer.from(packet.subarray(start + 2, start + length));
      asked.fill(0, start + 2, start + length);
      return timingSafeEqual(createHmac("md5", secret).update(asked).digest(), signature);
    }
    start += length;
  }
  return true;
}
