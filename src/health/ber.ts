/** The part of ASN.1's basic encoding rules (X.690) that LDAP uses: one-byte tags and definite lengths (RFC 4511, 5.1). */

/** The bytes are not in this encoding. */
export class BerError extends Error {}

export interface BerElement {
  readonly tag: number;
  readonly content: Buffer;
  /** Where the next element begins. */
  readonly end: number;
}

/** The element that begins at `start`; undefined if it is not complete yet. Content of over `maxBytes` is an error. */
export function readBerElement(bytes: Buffer, start: number, maxBytes: number): BerElement | undefined {
  const [tag, first] = bytes.subarray(start, start + 2);
  if (tag === undefined || first === undefined) return undefined;
  let begin = start + 2;
  let length = first;
  if (first >= 0x80) {
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > 4) throw new BerError(`a length of ${lengthBytes} bytes`);
    if (bytes.length < begin + lengthBytes) return undefined;
    length = bytes.readUIntBE(begin, lengthBytes);
    begin += lengthBytes;
  }
  if (length > maxBytes) throw new BerError(`an element of ${length} bytes`);
  const end = begin + length;
  return end > bytes.length ? undefined : { tag, content: bytes.subarray(begin, end), end };
}

/** All elements of a content, which must be whole. */
export function readBerElements(content: Buffer): BerElement[] {
  const elements: BerElement[] = [];
  for (let start = 0; start < content.length;) {
    const element = readBerElement(content, start, content.length);
    if (element === undefined) throw new BerError("an element that reaches beyond its end");
    elements.push(element);
    start = element.end;
  }
  return elements;
}

/** The value of an INTEGER or ENUMERATED of at most 4 bytes. */
export function readBerInteger({ content }: BerElement): number {
  if (content.length === 0 || content.length > 4) throw new BerError(`a number of ${content.length} bytes`);
  return content.readIntBE(0, content.length);
}

export function berElement(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const head = Buffer.from([tag, 0x84, 0, 0, 0, 0]);
  head.writeUInt32BE(content.length, 2);
  return Buffer.concat([head, content]);
}
