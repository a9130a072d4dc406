/** Numbers and addresses as the C library reads them, in the forms that ipvsadm hands to it. */

/** strtol(3) to base 10 over the whole text; undefined: it is no number, or out of range. */
export function parseDecimal(text: string, least: number, most: number): number | undefined {
  if (!/^[ \t\n\v\f\r]*[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}

/** atoi(3): what is no number is 0. */
export function parseLeadingDecimal(text: string): number {
  return Number(/^[ \t\n\v\f\r]*([+-]?\d+)/.exec(text)?.[1] ?? 0);
}

/**
 * inet_aton(3): one to four numbers, decimal, octal or hexadecimal, the last of which fills what is left; blanks and
 * anything after them are ignored. Returns a dotted quad, or undefined.
 */
export function parseLooseIpv4(text: string): string | undefined {
  const parts = (/^[^ \t\n\v\f\r]*/.exec(text)?.[0] ?? "").split(".");
  const last = parseCNumber(parts.pop()!);
  const leading = parts.map(parseCNumber);
  if (leading.length > 3 || last === undefined || last >= 256 ** (4 - leading.length)) return undefined;
  if (!leading.every((value) => value !== undefined && value < 256)) return undefined;
  const rest = Array.from(
    { length: 4 - leading.length },
    (_, index) => Math.floor(last / 256 ** (3 - leading.length - index)) % 256,
  );
  return [...leading, ...rest].join(".");
}

/** `10`, `012`, `0xa`. */
function parseCNumber(text: string): number | undefined {
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  return /^(?:0x[0-9a-f]+|0|[1-9]\d*)$/i.test(text) ? Number(text) : undefined;
}
