/** Holds README, docs and examples to the code: what they name exists, and what they must name is there. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { Command } from "commander";
import { createProgram } from "../src/cli/program.ts";
import { isDirectiveName } from "../src/config/directives.ts";
import { parseConfig } from "../src/config/parse.ts";
import { packetCounters } from "../src/dataplane/xdp/layout.generated.ts";
import { pinnedMaps } from "../src/dataplane/xdp/load.ts";
import { renderPrometheus } from "../src/report/prometheus.ts";
import { parseExposition } from "./report/exposition.ts";
import { snapshot } from "./report/sample.ts";

/** This file runs as build/test/docs.test.js. */
const root = join(import.meta.dirname, "..", "..");

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

function filesBelow(folder: string, suffix: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(suffix))
    .map((file) => join(folder, file));
}

const pages = ["README.md", ...filesBelow("docs", ".md")];
const operating = read("docs/OPERATING.md");
const architecture = read("docs/ARCHITECTURE.md");

/** What stands between backquotes outside of code blocks. */
function spansOf(text: string): string[] {
  return [...text.replaceAll(/^```.*?^```/gms, "").matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
}

/** The lines of code blocks, without comments. */
function codeLinesOf(text: string): string[] {
  return [...text.matchAll(/^```\w*\n(.*?)^```/gms)]
    .flatMap((match) => match[1]!.split("\n"))
    .map((line) => line.replace(/(^|\s)#.*/, "").trim());
}

/** The cells of each row of the page's tables. */
function rowsOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("|") && !line.startsWith("| ---"))
    .map((line) => line.split("|").slice(1, -1));
}

const program = createProgram();

function longOptions(command: Command): (string | undefined)[] {
  return command.options.flatMap(({ long, short }) => [long, short]);
}

for (const page of [...pages, ...filesBelow("examples", ".cf")]) {
  test(`${page}: every xlb command and option exists`, () => {
    const text = read(page);
    const parts = [...spansOf(text), ...codeLinesOf(text), ...(text.match(/(?<=^# Try it with: )xlb .*/gm) ?? [])];
    for (const words of parts.flatMap((part) => part.split("&&")).map((part) => part.trim().split(/\s+/))) {
      if (words[0] === "xlb" && /^[a-z]+$/.test(words[1] ?? "")) {
        const command = program.commands.find((each) => each.name() === words[1]);
        assert.ok(command, `there is no command: ${words.join(" ")}`);
        // Its options are those of ipvsadm, which test/cli/ipvsadm compares.
        if (command.name() === "ipvsadm") continue;
        const known = [...longOptions(command), ...longOptions(program), "--help", "-h"];
        const given = words.slice(2).filter((word) => /^--?[a-z]/.test(word));
        for (const option of given)
          assert.ok(known.includes(option), `there is no option ${option}: ${words.join(" ")}`);
      } else if (words[0]?.startsWith("--") === true) {
        const known = [...[program, ...program.commands].flatMap(longOptions), "--help"];
        assert.ok(known.includes(words[0]), `there is no option ${words[0]}`);
      } else if (words[0] === "make") {
        const targets = words.slice(1).filter((word) => /^[a-z-]+$/.test(word));
        for (const target of targets) assert.match(read("Makefile"), new RegExp(`^[a-z -]*\\b${target}\\b.*:`, "m"));
      }
    }
  });

  test(`${page}: every linked file is there`, () => {
    for (const [, target = ""] of read(page).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(root, dirname(page), target)), target);
    }
  });

  test(`${page}: every heading that is linked is there`, () => {
    for (const [, target = "", anchor = ""] of read(page).matchAll(/\]\(([^)#:\s]*)#([^)]*)\)/g)) {
      const text = read(target === "" ? page : join(dirname(page), target));
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1]!);
      const anchors = headings.map((heading) =>
        heading
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, "")
          .replaceAll(" ", "-"),
      );
      assert.ok(anchors.includes(anchor), `${target}#${anchor}`);
    }
  });
}

test("every metric is in OPERATING.md, and every metric there is one", async () => {
  const families = parseExposition((await renderPrometheus(snapshot)).body);
  const named = new Set(
    [...operating.matchAll(/\bxlb_[a-z0-9_]+/g)].map(([name]) => {
      const histogram = name.replace(/_(bucket|sum|count)$/, "");
      return families.get(histogram)?.type === "histogram" ? histogram : name;
    }),
  );
  assert.deepEqual([...named].sort(), [...families.keys()].sort());
});

test("every packet counter is explained in OPERATING.md, and every one explained there is one", () => {
  const members = Object.keys(packetCounters.decode(new Uint8Array(packetCounters.size)));
  const counters = members.filter((name) => !name.startsWith("reserved"));
  const explained = rowsOf(operating).flatMap(([first = ""]) => spansOf(first));
  for (const counter of counters) assert.ok(explained.includes(counter), counter);
  for (const name of explained.filter((each) => /^(pass|drop|icmp|victim)_/.test(each))) {
    assert.ok(counters.includes(name), name);
  }
});

test("every log line in OPERATING.md is in the sources", () => {
  const sources = filesBelow("src", ".ts").map(read).join("\n");
  const section = operating.slice(operating.indexOf("\n## Log lines"), operating.indexOf("\n## Packets that"));
  const lines = rowsOf(section).flatMap(([first = ""]) => spansOf(first));
  assert.ok(lines.length > 30);
  for (const line of lines) {
    // Capitals stand for names; what is between them stands in a template.
    for (const fragment of line
      .split(/\b(?:[A-Z]+\b)(?! address)/)
      .map((each) => each.replaceAll(/^[ :/]+|[ :(/]+$/g, ""))) {
      if (/[a-z]{4}/.test(fragment)) assert.ok(sources.includes(fragment), `nothing says ${JSON.stringify(fragment)}`);
    }
  }
});

test("every path in ARCHITECTURE.md exists", () => {
  const paths = spansOf(architecture).filter((span) => /^[\w.-]+(\/[\w.-]*)+$/.test(span));
  assert.ok(paths.length > 50);
  for (const path of paths) {
    if (!/^(build|BPFFS)\//.test(path)) assert.ok(existsSync(join(root, path)), path);
  }
});

test("every function that ARCHITECTURE.md names is in the file of its row", () => {
  const rows = rowsOf(architecture).filter((cells) => cells.some((cell) => /`\w+\(\)`/.test(cell)));
  assert.ok(rows.length > 25);
  for (const cells of rows) {
    const spans = spansOf(cells.slice(1).join(" "));
    const text = spans
      .filter((span) => /\.(c|h|ts)$/.test(span))
      .map(read)
      .join("\n");
    if (text === "") continue;
    for (const span of spans.filter((each) => /^\w+\(\)$/.test(each))) {
      assert.match(text, new RegExp(`\\b${span.slice(0, -2)}\\(`), `${span} of ${cells.join("|")}`);
    }
  }
});

test("every map is in ARCHITECTURE.md, and every map there is one", () => {
  const section = architecture.slice(architecture.indexOf("\n## The maps"), architecture.indexOf("\n## Invariants"));
  const named = rowsOf(section)
    .slice(1)
    .flatMap(([first = ""]) => spansOf(first));
  assert.deepEqual(named.sort(), Object.values(pinnedMaps).sort());
});

test("every directive in the pages is one", () => {
  for (const page of pages) {
    const names = spansOf(read(page)).flatMap((span) => /^([a-z6]+)=(?!$)/.exec(span)?.[1] ?? []);
    for (const name of names) {
      assert.ok(isDirectiveName(name) || /^virtual6?$/.test(name), `${page}: ${name}=`);
    }
  }
});

for (const path of filesBelow("examples", ".cf")) {
  test(`${path} is understood, without a warning`, async () => {
    const { config, diagnostics } = await parseConfig(read(path), path, {
      resolver: { host: () => Promise.resolve(undefined), service: () => undefined },
      compileRegex: () => undefined,
      files: { isDirectory: () => true, appendError: () => undefined },
    });
    assert.deepEqual(diagnostics, []);
    assert.ok(config);
  });
}
