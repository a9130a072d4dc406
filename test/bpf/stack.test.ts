/**
 * Linux 6.1 gives all functions of a chain of calls 512 bytes of stack together, and refuses a program with more
 * (check_max_stack_depth() of the kernel's verifier.c); later kernels count less. Seen here without one of that age.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { readElf, stringAt } from "../../scripts/elf.ts";
import { objectPath } from "./program.ts";

const limit = 512;
/** Frames are rounded up to it. */
const granule = 32;
const instruction = 8;
/** Called by a timer, on a stack of its own. */
const asynchronous = new Set(["sweep_timer"]);

const opcode = { move: 0xbf, addConstant: 0x07, call: 0x85, loadWide: 0x18 } as const;
const classOf = { ldx: 1, st: 2, stx: 3 } as const;
const framePointer = 10;

interface Routine {
  readonly name: string;
  /** Bytes below the frame pointer. */
  depth: number;
  readonly calls: Set<string>;
}

/** The functions of an object, by name. */
function readRoutines(object: Buffer): Map<string, Routine> {
  const { sections } = readElf(object) ?? { sections: [] };
  const table = sections.find(({ type }) => type === 2);
  assert.ok(table, "a symbol table");
  const names = sections[table.link]!.bytes;
  const symbols = Array.from({ length: table.bytes.length / 24 }, (_, index) => {
    const entry = table.bytes.subarray(index * 24);
    return {
      name: stringAt(names, entry.readUInt32LE(0)),
      type: entry[4]! & 15,
      section: entry.readUInt16LE(6),
      value: Number(entry.readBigUInt64LE(8)),
      size: Number(entry.readBigUInt64LE(16)),
    };
  });
  const functions = symbols.filter(({ type }) => type === 2);
  const functionAt = (section: number, offset: number): string | undefined =>
    functions.find((each) => each.section === section && each.value === offset)?.name;

  /** By section and offset of the instruction: the symbol that a linker would put there. */
  const targets = new Map<string, (typeof symbols)[number]>();
  for (const { bytes, info } of sections.filter(({ type }) => type === 9)) {
    for (let at = 0; at < bytes.length; at += 16) {
      const symbol = symbols[bytes.readUInt32LE(at + 12)];
      if (symbol !== undefined) targets.set(`${info} ${bytes.readBigUInt64LE(at)}`, symbol);
    }
  }

  const routines = new Map<string, Routine>();
  for (const { name, section, value, size } of functions) {
    const routine: Routine = { name, depth: 0, calls: new Set() };
    routines.set(name, routine);
    const { bytes } = sections[section]!;
    const pointers = new Set<number>();
    for (let at = value; at < value + size; at += instruction) {
      const code = bytes[at]!;
      const [to, from] = [bytes[at + 1]! & 15, bytes[at + 1]! >> 4];
      const [distance, constant] = [bytes.readInt16LE(at + 2), bytes.readInt32LE(at + 4)];
      const reaches = (below: number): void => void (routine.depth = Math.max(routine.depth, -below));
      const target = targets.get(`${section} ${at}`);
      if ((code & 7) === classOf.ldx && from === framePointer) reaches(distance);
      if (((code & 7) === classOf.st || (code & 7) === classOf.stx) && to === framePointer) reaches(distance);
      if (code === opcode.addConstant && pointers.has(to)) reaches(constant);
      pointers.delete(to);
      if (code === opcode.move && from === framePointer) pointers.add(to);
      if (code === opcode.call && from === 1) {
        const called = target === undefined ? functionAt(section, at + instruction * (constant + 1)) : undefined;
        // Of a section's own symbol the constant says where, in instructions and less one.
        const there =
          target?.type === 3 ? functionAt(target.section, target.value + instruction * (constant + 1)) : target?.name;
        const callee = called ?? there;
        assert.ok(callee !== undefined, `whom ${name} calls at ${at}`);
        routine.calls.add(callee);
      }
      if (code === opcode.loadWide) {
        const callback = target?.type === 3 ? functionAt(target.section, constant) : target;
        const named = typeof callback === "string" ? callback : callback?.type === 2 ? callback.name : undefined;
        if (named !== undefined) routine.calls.add(named);
        at += instruction;
      }
    }
  }
  return routines;
}

/** The chain of calls from a function that takes most, and its bytes. */
function deepest(
  routines: Map<string, Routine>,
  name: string,
  above: readonly string[] = [],
): { bytes: number; chain: string[] } {
  const { depth, calls } = routines.get(name)!;
  const own = Math.ceil(Math.max(1, depth) / granule) * granule;
  assert.ok(!above.includes(name), `${name} calls itself`);
  let most = { bytes: 0, chain: [] as string[] };
  for (const callee of calls) {
    if (asynchronous.has(callee)) continue;
    const below = deepest(routines, callee, [...above, name]);
    if (below.bytes > most.bytes) most = below;
  }
  return { bytes: own + most.bytes, chain: [`${name} ${depth}`, ...most.chain] };
}

describe(
  "the stack of Linux 6.1",
  { skip: !existsSync(objectPath) && "build/bpf/director.bpf.o is missing: run `make bpf`" },
  () => {
    const routines = existsSync(objectPath) ? readRoutines(readFileSync(objectPath)) : new Map<string, Routine>();
    for (const name of ["director", "control", ...asynchronous]) {
      it(`has room for ${name} and all that it calls`, (t) => {
        const { bytes, chain } = deepest(routines, name);
        t.diagnostic(`${bytes} bytes: ${chain.join(", ")}`);
        assert.ok(chain.length > 1, "it calls something");
        assert.ok(bytes <= limit, `${bytes} bytes: ${chain.join(", ")}`);
      });
    }
  },
);
