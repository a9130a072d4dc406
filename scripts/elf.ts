/** What is read of an ELF object: 64 bits, little endian. */

export interface Section {
  /** Offset of its name in the section of names. */
  readonly name: number;
  /** SHT_*. */
  readonly type: number;
  readonly link: number;
  readonly info: number;
  readonly bytes: Buffer;
}

export interface Elf {
  readonly sections: readonly Section[];
  /** The section of that name. */
  readonly section: (name: string) => Section | undefined;
}

/** Undefined: the file is none. */
export function readElf(file: Buffer): Elf | undefined {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) return undefined;
  const tableOffset = Number(file.readBigUInt64LE(0x28));
  const entrySize = file.readUInt16LE(0x3a);
  const sections = Array.from({ length: file.readUInt16LE(0x3c) }, (_, index): Section => {
    const at = tableOffset + index * entrySize;
    const offset = Number(file.readBigUInt64LE(at + 0x18));
    const size = Number(file.readBigUInt64LE(at + 0x20));
    return {
      name: file.readUInt32LE(at),
      type: file.readUInt32LE(at + 4),
      link: file.readUInt32LE(at + 0x28),
      info: file.readUInt32LE(at + 0x2c),
      bytes: file.subarray(offset, offset + size),
    };
  });
  const names = sections[file.readUInt16LE(0x3e)]?.bytes ?? Buffer.alloc(0);
  return { sections, section: (wanted) => sections.find(({ name }) => stringAt(names, name) === wanted) };
}

/** The string of a table of strings that begins there. */
export function stringAt(bytes: Buffer, offset: number): string {
  return bytes.toString("latin1", offset, bytes.indexOf(0, offset));
}
