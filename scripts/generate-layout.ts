/**
 * Writes src/dataplane/xdp/layout.generated.ts: what bpf/director.h declares, as TypeScript. Offsets, sizes and enum
 * values come from the BTF of the compiled object; the names to look for, their order and the constants (`#define`)
 * come from the header's text.
 *
 *     node build/scripts/generate-layout.js [--check] [--object FILE] [--header FILE] [--output FILE]
 *
 * clang writes into BTF only types that a map, a global variable or a global function refers to. A struct that is no
 * map's value, and an enum that is no struct's field, are kept by a global variable that has them by value (a pointer
 * member is not enough: its target becomes a forward declaration), for example in the BPF source:
 *
 *     const volatile union {
 *             enum connection_state connection_state;
 *             struct control_request control_request;
 *     } layout_types;
 *
 * Exit status: 0 done, 1 with `--check` and a difference, 2 something of the header is missing in BTF or not supported.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { format, resolveConfig } from "prettier";
import { readElf, stringAt } from "./elf.ts";

/** The kinds of BTF that are told apart here (linux/btf.h). */
const kind = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

interface Member {
  readonly name: string;
  readonly type: number;
  /** Bits from the start of the struct. */
  readonly bitOffset: number;
  /** 0: not a bit-field. */
  readonly bitSize: number;
}

interface Type {
  readonly kind: number;
  readonly name: string;
  /** Bytes, or the id of the type referred to. */
  readonly sizeOrType: number;
  readonly signed: boolean;
  readonly members: readonly Member[];
  readonly enumerators: readonly { readonly name: string; readonly value: number }[];
  readonly array: { readonly type: number; readonly length: number } | undefined;
}

/** Something is missing or not supported; the message says what to do. */
class LayoutError extends Error {}

function elfSection(file: Buffer, wanted: string): Buffer {
  const elf = readElf(file);
  if (elf === undefined) throw new LayoutError("the object is not a 64-bit little-endian ELF file");
  const section = elf.section(wanted);
  if (section === undefined) throw new LayoutError(`the object has no section ${wanted}: compile it with -g`);
  return section.bytes;
}

/** All types of a section .BTF; index is the type's id, id 0 is void. */
function readBtf(section: Buffer): readonly Type[] {
  if (section.readUInt16LE(0) !== 0xeb9f) throw new LayoutError("the section .BTF is not little-endian BTF");
  const header = section.readUInt32LE(4);
  const typesOffset = header + section.readUInt32LE(8);
  const typesEnd = typesOffset + section.readUInt32LE(12);
  const strings = section.subarray(header + section.readUInt32LE(16));
  const nothing: Type = {
    kind: 0,
    name: "void",
    sizeOrType: 0,
    signed: false,
    members: [],
    enumerators: [],
    array: undefined,
  };
  const types: Type[] = [nothing];
  let at = typesOffset;
  const word = (): number => {
    at += 4;
    return section.readUInt32LE(at - 4);
  };
  while (at < typesEnd) {
    const name = stringAt(strings, word());
    const info = word();
    const type = { ...nothing, name, kind: (info >>> 24) & 0x1f, sizeOrType: word() };
    const count = info & 0xffff;
    const kindFlag = info >>> 31 === 1;
    switch (type.kind) {
      case kind.INT:
        types.push({ ...type, signed: ((word() >>> 24) & 1) === 1 });
        break;
      case kind.ARRAY: {
        const element = word();
        word(); // the type of its index
        types.push({ ...type, array: { type: element, length: word() } });
        break;
      }
      case kind.STRUCT:
      case kind.UNION: {
        const members = Array.from({ length: count }, () => {
          const member = { name: stringAt(strings, word()), type: word() };
          const offset = word();
          return kindFlag
            ? { ...member, bitOffset: offset & 0xffffff, bitSize: offset >>> 24 }
            : { ...member, bitOffset: offset, bitSize: 0 };
        });
        types.push({ ...type, members });
        break;
      }
      case kind.ENUM: {
        const enumerators = Array.from({ length: count }, () => {
          const enumerator = stringAt(strings, word());
          const value = word();
          return { name: enumerator, value: kindFlag ? value | 0 : value };
        });
        types.push({ ...type, enumerators });
        break;
      }
      default:
        at += trailingBytes(type.kind, count);
        types.push(type);
    }
  }
  return types;
}

/** What follows the three words of a type that is not looked into. */
function trailingBytes(typeKind: number, count: number): number {
  switch (typeKind) {
    case kind.FUNC_PROTO:
      return 8 * count;
    case kind.VAR:
    case kind.DECL_TAG:
      return 4;
    case kind.DATASEC:
    case kind.ENUM64:
      return 12 * count;
    default:
      return 0;
  }
}

/** What a field is made of, once typedefs and qualifiers are followed. */
type Shape =
  | { readonly is: "integer"; readonly size: number; readonly signed: boolean; readonly bigEndian: boolean }
  | { readonly is: "struct"; readonly size: number; readonly name: string }
  | { readonly is: "array"; readonly size: number; readonly element: Shape; readonly length: number };

function shapeOf(types: readonly Type[], id: number, where: string, bigEndian = false): Shape {
  const type = types[id];
  if (type === undefined) throw new LayoutError(`${where}: BTF has no type ${id}`);
  switch (type.kind) {
    case kind.TYPEDEF:
      return shapeOf(types, type.sizeOrType, where, bigEndian || /^__be(16|32|64)$/.test(type.name));
    case kind.CONST:
    case kind.VOLATILE:
    case kind.RESTRICT:
    case kind.TYPE_TAG:
      return shapeOf(types, type.sizeOrType, where, bigEndian);
    case kind.INT:
      return { is: "integer", size: type.sizeOrType, signed: type.signed, bigEndian };
    case kind.ENUM:
      return { is: "integer", size: type.sizeOrType, signed: false, bigEndian: false };
    case kind.STRUCT:
      if (type.name === "") throw new LayoutError(`${where}: give the struct inside it a name`);
      return { is: "struct", size: type.sizeOrType, name: type.name };
    case kind.ARRAY: {
      if (type.array === undefined) throw new LayoutError(`${where}: an array without a length`);
      const element = shapeOf(types, type.array.type, where, bigEndian);
      return { is: "array", size: element.size * type.array.length, element, length: type.array.length };
    }
    default:
      throw new LayoutError(`${where}: pointers, unions and floating-point numbers have no place in a map's value`);
  }
}

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly shape: Shape;
  /** Padding with a name: always zero, not part of the interface. */
  readonly reserved: boolean;
}

function fieldsOf(types: readonly Type[], struct: Type): readonly Field[] {
  return struct.members.map((member) => {
    const where = `struct ${struct.name}, ${member.name}`;
    if (member.bitSize !== 0 || member.bitOffset % 8 !== 0) throw new LayoutError(`${where}: is a bit-field`);
    const offset = member.bitOffset / 8;
    return {
      name: member.name,
      offset,
      shape: shapeOf(types, member.type, where),
      reserved: /^reserved\d*$/.test(member.name),
    };
  });
}

function pascalCase(name: string): string {
  return name.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The constant's name; words that TypeScript reserves get an ending. */
function camelCase(name: string): string {
  const pascal = pascalCase(name);
  const camel = `${pascal.charAt(0).toLowerCase()}${pascal.slice(1)}`;
  return ["interface", "enum", "class", "default", "package"].includes(camel) ? `${camel}Struct` : camel;
}

function accessor(shape: Shape & { is: "integer" }): string {
  if (![1, 2, 4, 8].includes(shape.size)) throw new LayoutError(`an integer of ${shape.size} bytes`);
  return `${shape.size === 8 ? "Big" : ""}${shape.signed ? "Int" : "Uint"}${shape.size * 8}`;
}

function endianArgument(shape: Shape & { is: "integer" }): string {
  return shape.size === 1 ? "" : `, ${String(!shape.bigEndian)}`;
}

function isBytes(shape: Shape): boolean {
  return shape.is === "array" && shape.element.is === "integer" && shape.element.size === 1 && !shape.element.signed;
}

function typescriptType(shape: Shape): string {
  switch (shape.is) {
    case "integer":
      return shape.size === 8 ? "bigint" : "number";
    case "struct":
      return pascalCase(shape.name);
    case "array":
      return isBytes(shape) ? "Uint8Array" : `readonly ${typescriptType(shape.element)}[]`;
  }
}

function plus(base: string, offset: number): string {
  return offset === 0 ? base : `${base} + ${offset}`;
}

const unrolledLength = 8;

function readExpression(shape: Shape, at: string, offset: number): string {
  switch (shape.is) {
    case "integer":
      return `view.get${accessor(shape)}(${plus(at, offset)}${endianArgument(shape)})`;
    case "struct":
      return `${camelCase(shape.name)}.read(view, ${plus(at, offset)})`;
    case "array": {
      if (isBytes(shape)) return `readBytes(view, ${plus(at, offset)}, ${shape.length})`;
      const { element, length } = shape;
      if (length <= unrolledLength) {
        const items = Array.from({ length }, (_, i) => readExpression(element, at, offset + i * element.size));
        return `[${items.join(", ")}]`;
      }
      const item = readExpression(element, `${plus(at, offset)} + i * ${element.size}`, 0);
      return `Array.from({ length: ${length} }, (_, i) => ${item})`;
    }
  }
}

function writeStatement(shape: Shape, at: string, offset: number, value: string): string {
  switch (shape.is) {
    case "integer":
      return `view.set${accessor(shape)}(${plus(at, offset)}, ${value}${endianArgument(shape)});`;
    case "struct":
      return `${camelCase(shape.name)}.write(view, ${plus(at, offset)}, ${value});`;
    case "array": {
      if (isBytes(shape)) return `writeBytes(view, ${plus(at, offset)}, ${value}, ${shape.length});`;
      const item = writeStatement(shape.element, `${plus(at, offset)} + i * ${shape.element.size}`, 0, "item");
      return `checkLength(${value}, ${shape.length}); ${value}.forEach((item, i) => { ${item} });`;
    }
  }
}

function structText(struct: Type, fields: readonly Field[]): string {
  const type = pascalCase(struct.name);
  const name = camelCase(struct.name);
  const visible = fields.filter((field) => !field.reserved);
  const properties = visible.map((field) => `readonly ${field.name}: ${typescriptType(field.shape)};`);
  const places = fields.map((field) => `${field.name}: { offset: ${field.offset}, size: ${field.shape.size} },`);
  const reads = visible.map((field) => `${field.name}: ${readExpression(field.shape, "at", field.offset)},`);
  const writes = fields.map((field) =>
    field.reserved
      ? `clear(view, ${plus("at", field.offset)}, ${field.shape.size});`
      : writeStatement(field.shape, "at", field.offset, `value.${field.name}`),
  );
  return `
/** \`struct ${struct.name}\`, ${struct.sizeOrType} bytes. */
export interface ${type} {
  ${properties.join("\n")}
}

export const ${name} = {
  size: ${struct.sizeOrType},
  fields: {
    ${places.join("\n")}
  },
  read(view: DataView, at: number): ${type} {
    return {
      ${reads.join("\n")}
    };
  },
  write(view: DataView, at: number, value: ${type}): void {
    ${writes.join("\n")}
  },
  decode(bytes: Uint8Array, at = 0): ${type} {
    return ${name}.read(viewOf(bytes), at);
  },
  encode(value: ${type}): Uint8Array {
    const bytes = new Uint8Array(${struct.sizeOrType});
    ${name}.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<${type}>;
`;
}

function enumText(type: Type): string {
  const name = camelCase(type.name);
  const members = type.enumerators.map(({ name: member, value }) => `${member}: ${value},`);
  return `
/** \`enum ${type.name}\`. */
export const ${name} = {
  ${members.join("\n")}
} as const;
export type ${pascalCase(type.name)} = (typeof ${name})[keyof typeof ${name}];
`;
}

/** `#define NAME number`; a number with the suffix ULL becomes a bigint, for words of 64 bits. */
function constantsText(header: string): string {
  const lines: string[] = [];
  for (const match of header.matchAll(/^#define[ \t]+(\w+)[ \t]+(0x[0-9a-fA-F]+|\d+)(U?L?L?)(?=\s|$)/gm)) {
    const [, name, number, suffix] = match;
    lines.push(`export const ${name} = ${number}${suffix === "ULL" ? "n" : ""};`);
  }
  return lines.join("\n");
}

function tableText(structs: readonly string[]): string {
  const rows = structs.map((name) => (camelCase(name) === name ? `${name},` : `${name}: ${camelCase(name)},`));
  return `
/** Every struct by its name in C. */
export const layout = {
  ${rows.join("\n")}
} as const;
`;
}

const heading = `/**
 * Generated from bpf/director.h and the BTF of its object by \`make generate\`; do not edit.
 *
 * Names of fields are those of the C structs. Values of type __be16 and __be32 are big-endian in memory and plain
 * numbers here; all others are little-endian. Reserved fields are written as zero. A codec takes single bytes: words
 * of mapped memory that the data path changes meanwhile are to be read and written by typed arrays, lest they tear.
 */

/** How a struct lies in memory; \`at\` counts bytes from the start of the view. */
export interface Codec<T> {
  /** Bytes. */
  readonly size: number;
  /** Of every field, reserved ones too, in bytes. */
  readonly fields: Readonly<Record<string, { readonly offset: number; readonly size: number }>>;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: T): void;
  decode(bytes: Uint8Array, at?: number): T;
  encode(value: T): Uint8Array;
}
`;

const footing = `
function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readBytes(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}

function writeBytes(view: DataView, at: number, value: Uint8Array, length: number): void {
  checkLength(value, length);
  new Uint8Array(view.buffer, view.byteOffset + at, length).set(value);
}

function clear(view: DataView, at: number, length: number): void {
  new Uint8Array(view.buffer, view.byteOffset + at, length).fill(0);
}

function checkLength(value: { readonly length: number }, length: number): void {
  if (value.length !== length) throw new RangeError(\`\${value.length} elements in place of \${length}\`);
}
`;

/** The text of the generated file, not yet laid out. */
export function generateLayout(object: Buffer, header: string): string {
  const types = readBtf(elfSection(object, ".BTF"));
  const parts: string[] = [];
  const structs: string[] = [];
  const missing: string[] = [];
  for (const match of header.matchAll(/^(struct|enum)[ \t]+(\w+)[ \t]*\{/gm)) {
    const [, keyword = "", name = ""] = match;
    const wanted = keyword === "struct" ? kind.STRUCT : kind.ENUM;
    const type = types.find((candidate) => candidate.kind === wanted && candidate.name === name);
    if (type === undefined) {
      missing.push(`${keyword} ${name}`);
    } else if (keyword === "struct") {
      parts.push(structText(type, fieldsOf(types, type)));
      structs.push(name);
    } else {
      parts.push(enumText(type));
    }
  }
  if (missing.length > 0) {
    throw new LayoutError(
      `BTF of the object lacks ${missing.join(", ")}: no map or global variable refers to it; ` +
        "add it by value to a global variable of the BPF source (see scripts/generate-layout.ts)",
    );
  }
  return [heading, constantsText(header), ...parts, tableText(structs), footing].join("\n");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      check: { type: "boolean", default: false },
      object: { type: "string", default: "build/bpf/director.bpf.o" },
      header: { type: "string", default: "bpf/director.h" },
      output: { type: "string", default: "src/dataplane/xdp/layout.generated.ts" },
    },
  });
  const text = generateLayout(readFileSync(values.object), readFileSync(values.header, "utf8"));
  const options = await resolveConfig(values.output);
  const generated = await format(text, { ...options, parser: "typescript" });
  if (!values.check) {
    writeFileSync(values.output, generated);
    return 0;
  }
  if (readFileSync(values.output, "utf8") === generated) return 0;
  process.stderr.write(`${values.output} differs from ${values.header} and ${values.object}: run make generate\n`);
  return 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof LayoutError)) throw error;
  process.stderr.write(`generate-layout: ${error.message}\n`);
  process.exitCode = 2;
}
