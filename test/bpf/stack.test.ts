/**
 * Linux 6.1 gives all functions of a chain of calls 512 bytes of stack together, and refuses a program with more
 * (check_max_stack_depth() of the kernel's verifier.c); later kernels count less. Seen here without one of that age.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
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

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

/** The functions of an ELF object of 64 bits, little endian, by name. */
function readRoutines(object: Buffer): Map<string, Routine> {
  const u64 = (at: number): number => Number(object.readBigUInt64LE(at));
  const headers = u64(40);
  const sections = Array.from({ length: object.readUInt16LE(60) }, (_, index): Section => {
    const at = headers + index * object.readUInt16LE(58);
    const [offset, size] = [u64(at + 24), u64(at + 32)];
    return {
      type: object.readUInt32LE(at + 4),
      offset,
      size,
      link: object.readUInt32LE(at + 40),
      info: object.readUInt32LE(at + 44),
    };
  });
  const table = sections.find(({ type }) => type === 2);
  assert.ok(table, "a symbol table");
  const names = sections[table.link]!.offset;
  const symbols = Array.from({ length: table.size / 24 }, (_, index) => {
    const at = table.offset + index * 24;
    const name = names + object.readUInt32LE(at);
    return {
      name: object.toString("latin1", name, object.indexOf(0, name)),
      type: object[at + 4]! & 15,
      section: object.readUInt16LE(at + 6),
      value: u64(at + 8),
      size: u64(at + 16),
    };
  });
  const functions = symbols.filter(({ type }) => type === 2);
  const functionAt = (section: number, offset: number): string | undefined =>
    functions.find((each) => each.section === section && each.value === offset)?.name;

  /** By section and offset of the instruction: the symbol that a linker would put there. */
  const targets = new Map<string, (typeof symbols)[number]>();
  for (const { offset, size, info } of sections.filter(({ type }) => type === 9)) {
    for (let at = offset; at < offset + size; at += 16) {
      const symbol = symbols[object.readUInt32LE(at + 12)];
      if (symbol !== undefined) targets.set(`${info} ${u64(at)}`, symbol);
    }
  }

  const routines = new Map<string, Routine>();
  for (const { name, section, value, size } of functions) {
    const routine: Routine = { name, depth: 0, calls: new Set() };
    routines.set(name, routine);
    const { offset } = sections[section]!;
    const pointers = new Set<number>();
    for (let at = value; at < value + size; at += instruction) {
      const place = offset + at;
      const code = object[place]!;
      const [to, from] = [object[place + 1]! & 15, object[place + 1]! >> 4];
      const [distance, constant] = [object.readInt16LE(place + 2), object.readInt32LE(place + 4)];
      const reaches = (bytes: number): void => void (routine.depth = Math.max(routine.depth, -bytes));
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
