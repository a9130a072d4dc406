/** A strict reader of Prometheus' text format 0.0.4: what promtool would object to is thrown. */

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly {
    readonly name: string;
    readonly labels: ReadonlyMap<string, string>;
    readonly value: number;
  }[];
}

/** Reads a page; throws an Error that names the line which breaks the format or a convention of metric names. */
export function parseExposition(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line must end with a line feed");
  const families = new Map<string, Family & { samples: Family["samples"][number][] }>();
  const series = new Set<string>();
  let current: (Family & { samples: Family["samples"][number][] }) | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${JSON.stringify(line)}`);
    };
    if (line === "") continue;
    if (line.startsWith("# HELP ")) {
      const [, name = "", helpText = ""] = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line) ?? fail("bad HELP");
      if (families.has(name)) fail("a metric must come once");
      help = { name, text: helpText };
      continue;
    }
    if (line.startsWith("# TYPE ")) {
      const [, name = "", type = ""] =
        /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/.exec(line) ?? fail("bad TYPE");
      if (help?.name !== name) fail("HELP must come before TYPE");
      if ((type === "counter") !== name.endsWith("_total")) fail("exactly counters end in _total");
      current = { name, type, help: help?.text ?? "", samples: [] };
      families.set(name, current);
      continue;
    }
    const [, name = "", labelText = "", valueText = ""] =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? fail("bad sample");
    if (current === undefined) return fail("a sample needs TYPE before it");
    const suffix = name.slice(current.name.length);
    const suffixes = current.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!name.startsWith(current.name) || !suffixes.includes(suffix)) fail(`not a sample of ${current.name}`);
    const labels = parseLabels(labelText, fail);
    const key = `${name}{${[...labels]
      .map(([label, value]) => `${label}=${JSON.stringify(value)}`)
      .sort()
      .join()}}`;
    if (series.has(key)) fail("the series is there twice");
    series.add(key);
    if (!/^([+-]?\d+(\.\d+)?(e[+-]?\d+)?|[+-]Inf|NaN)$/.test(valueText)) fail("bad value");
    const value = Number(valueText.replace("Inf", "Infinity"));
    if (current.type === "counter" && !(value >= 0)) fail("a counter is never negative");
    current.samples.push({ name, labels, value });
  }
  for (const family of families.values()) {
    if (family.samples.length === 0) throw new Error(`${family.name} has no samples`);
    if (family.type === "histogram") checkHistogram(family);
  }
  return families;
}

function parseLabels(text: string, fail: (why: string) => never): Map<string, string> {
  const labels = new Map<string, string>();
  const pattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)/y;
  while (pattern.lastIndex < text.length) {
    const [, name = "", value = ""] = pattern.exec(text) ?? fail("bad labels");
    if (labels.has(name)) fail(`label ${name} is there twice`);
    labels.set(
      name,
      value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped)),
    );
  }
  return labels;
}

function checkHistogram(family: Family): void {
  const groups = new Map<string, Family["samples"][number][]>();
  for (const sample of family.samples) {
    const key = [...sample.labels].filter(([name]) => name !== "le").join(";");
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, samples] of groups) {
    const buckets = samples.filter(({ name }) => name.endsWith("_bucket"));
    const bounds = buckets.map(({ labels }) => Number(labels.get("le")?.replace("Inf", "Infinity")));
    const rising = (values: readonly number[]): boolean =>
      values.every((value, i) => i === 0 || value >= (values[i - 1] ?? 0));
    if (bounds.at(-1) !== Infinity) throw new Error(`${family.name} ${key} lacks the bucket +Inf`);
    if (!rising(bounds) || !rising(buckets.map(({ value }) => value)))
      throw new Error(`${family.name} ${key} is not cumulative`);
    const count = samples.find(({ name }) => name.endsWith("_count"))?.value;
    if (buckets.at(-1)?.value !== count) throw new Error(`${family.name} ${key}: count is not the bucket +Inf`);
    if (!samples.some(({ name }) => name.endsWith("_sum"))) throw new Error(`${family.name} ${key} lacks its sum`);
  }
}
