/** Random configuration files in ldirectord's language: mostly right, with every kind of slip its users make. */
import fc from "fast-check";
import { directives } from "../../src/config/directives.ts";
import type { DirectiveName } from "../../src/config/directives.ts";

export interface GrammarOptions {
  /** A directory for what a file names; nothing else is named that a reader could make. */
  readonly folder: string;
  /** How often a value is one that may be wrong, of 100. */
  readonly oddity: number;
}

const seldom = (percent: number, odd: fc.Arbitrary<string>, usual: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof({ weight: percent, arbitrary: odd }, { weight: 100 - percent, arbitrary: usual });
const of = (...values: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...values);
const joined = (...parts: readonly fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
  fc.tuple(...parts).map((texts) => texts.join(""));

const quotedText = of('"abc"', '"a b"', '"/x"', '"/a/b?c=d"', '"^a+$"', '"(?i)ok"', '"a,b"', '"a"b"', '"it\'s"');
const oddText = of(
  "abc",
  '""',
  '"a" x',
  '"a#b"',
  '"a" # c',
  '"unclosed',
  "'abc'",
  '" "',
  '"a\tb"',
  '"a # b" # "c"',
  '"a',
);

const hosts4 = of("10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.7", "127.0.0.1", "localhost");
const oddHosts4 = of(
  ...["192.168.258", "5060", "010.0.0.1", "0x7f.1", "300.1.1.1", "10.0.0.256", "1.2.3.4.5", "[::1]", "10.0.0.09", ""],
  ...["-", "10.0.0.1.", "10..1", "0", "LOCALHOST", "10.0.0.1-10.0.0.3", "224.0.0.1", "255.255.255.255", "0.0.0.0"],
);
const hosts6 = of("[2001:db8::1]", "[2001:DB8::0:2]", "[::1]", "[2001:db8:0:0:0:0:0:3]");
const oddHosts6 = of("[1::2::3]", "2001:db8::1", "[fe80::1%lo]", "10.0.0.1", "[g::1]", "[]", "[::ffff:10.0.0.1]");
const ports = of("", ":80", ":80", ":8080", ":http", ":443", ":53");
const oddPorts = of(
  ":domain",
  ":053",
  ":0",
  ":00",
  ":65536",
  ":65535",
  ":nosuch",
  ":",
  ":5060",
  ":21",
  ":-1",
  ":8 0",
  ":080",
);
const methods = of("gate", "gate", "gate", "masq", "ipip");
const oddMethods = of("GATE", "gates", "", "gate,", "(gate", "masq.", "route", "gate\t");
const tails = of("", "", "", " 1", " 5", " 0", " 3 u:100", " u:7", ' 2 "a", "b"', ' "a","b"');
const oddTails = of(
  ...[
    " -1",
    " 3x",
    " foo",
    " foo 5",
    ' "a" "b"',
    ' "a" , "b"',
    ' "/a", "b"',
    ' 2 "x", "y" l:1 u:5',
    " 1 u:5 l:2",
    " 007",
  ],
  ...[
    " l:1 u:2",
    " l:3",
    ' "a", "b" junk',
    ' "/a", "b" junk',
    ' "a 5 b", "c"',
    ' 1 "a#b", "c"',
    ' "a","b","c"',
    " 2.5",
  ],
  ...[' "l:1" "u:5"', " 1 ", " 1 # c", " 70000", " 1 2", ' "", ""', ' "a", ""', " weight 3", " 1,", " 65535", " 65536"],
);

interface Pools {
  readonly host: fc.Arbitrary<string>;
  readonly host6: fc.Arbitrary<string>;
  readonly port: fc.Arbitrary<string>;
  readonly method: fc.Arbitrary<string>;
}

function valuesOf({ folder, oddity }: GrammarOptions, { host, host6, port, method }: Pools) {
  const odd = (usual: fc.Arbitrary<string>, strange: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    seldom(oddity, strange, usual);
  const number = odd(
    of("1", "5", "12", "30", "600"),
    of(
      "0",
      "00",
      "007",
      "6min",
      '"7"',
      "1.5",
      "-4",
      "abc",
      "",
      " 3 ",
      "3 # x",
      "70000",
      "99999999999999999999",
      "x9y8",
    ),
  );
  const yesNo = odd(
    of("yes", "no"),
    of("Yes", '"yes"', "yes ", "no # x", "yes# x", "maybe", "", "no\t", "yes no", "y"),
  );
  const text = odd(quotedText, oddText);
  const path = (name: string): fc.Arbitrary<string> =>
    odd(of(`${folder}/${name}`, `"${folder}/${name}"`), of("/nonexistent/x/y", `${folder}`, ""));
  const fallback = (hosts: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    odd(
      joined(hosts, port, fc.oneof(of(""), joined(of(" "), method))),
      of("gate", "x 10.0.0.9:80 gate", "10.0.0.9:80 # c", "10.0.0.9:80 gate ", "10.0.0.9 80", "10.0.0.9:80 gate 1"),
    );
  return {
    autoreload: yesNo,
    callback: text,
    checkcommand: odd(of("/bin/true", '"/bin/true"'), of('""', "", "/bin/true x", '"/bin/true', "/bin/true # c")),
    checkcount: number,
    checkinterval: number,
    checkport: odd(of("80", "8080"), of("0", "65535", "65536", "http", "", "80 81")),
    checktimeout: number,
    checktype: odd(
      of("connect", "external", "external-perl", "negotiate", "off", "on", "ping", "3"),
      of(
        "connect2",
        "-3",
        "checktimeout3",
        '"connect"',
        "Connect",
        "",
        "connect x",
        "offf",
        "0",
        "external_perl",
        "on,off",
      ),
    ),
    cleanstop: yesNo,
    comment: of("c", "", "a, b"),
    connecttimeout: number,
    database: text,
    emailalert: odd(of("a@b.c", '"a@b.c"', "a@b.c, d@e.f"), of("", '""', '"a@b"x', '"a" "b"', ",")),
    emailalertfreq: number,
    emailalertfrom: of("a@b", ""),
    emailalertstatus: odd(
      of("all", "none", "running, starting", "reloading,stopping"),
      of("none, all", "foo", "", "all,", "running ", ",all", "running starting", "all, running", "ALL", "none,none"),
    ),
    execute: of("other.cf", "b"),
    failurecount: number,
    fallback: fallback(host),
    fallback6: fallback(host6),
    fallbackcommand: odd(of("/bin/x a b", '"/bin/x"'), of("", '""', "/bin/x # c", '"/bin/x" y')),
    fork: yesNo,
    httpmethod: odd(of("GET", "head"), of("POST", "", '"get"', "get head", "HEADS")),
    load: text,
    logfile: odd(
      of(`"${folder}/log"`, '"local0"'),
      of(`${folder}/log`, '""', `"${folder}/log" # x`, '"/nonexistent/x/log"'),
    ),
    login: text,
    maintenancedir: odd(of(folder), of(`"${folder}"`, "", "/nonexistent", `${folder} # x`)),
    monitorfile: path("monitor"),
    negotiatetimeout: number,
    netmask: odd(
      of("255.255.255.0", "255.255.255.255", "64"),
      of("255.255.255.0 ", "129", "0", "255.255.255", "255.0.255.0", "1 2"),
    ),
    ops: yesNo,
    passwd: text,
    persistent: odd(number, of("2678400", "2678401", "0")),
    protocol: odd(of("tcp", "udp"), of("fwm", "TCP", "", "udp x", '"udp"', "sctp", "tcp,udp")),
    quiescent: yesNo,
    readdquiescent: yesNo,
    real: of(""),
    real6: of(""),
    receive: text,
    request: text,
    schedflags: odd(of("sh-port", "flag-1"), of("", "a b", "sh-port,sh-fallback", "mh-port")),
    scheduler: odd(of("rr", "wlc", "sh", "wrr", "mh"), of("Wrr", "RR", "", "foo", "lblc ", '"rr"', "1rr", "rr wlc")),
    secret: text,
    service: odd(
      of("http", "https", "dns", "ftp", "sip", "none", "ldaps", "mysql"),
      of('"http"', "http foo", "HTTP", "x", "", "submission", "http_proxy", "http-x", "http,ftp"),
    ),
    servicename: of("Web Site", "", "a, b"),
    smtp: odd(of("mail.example.com"), of("", "a b", "!x", '"x"', "a:25")),
    supervised: yesNo,
    timeout: number,
    virtualhost: odd(of("www.example.com", '"www.example.com"'), of("", 'foo"bar"', '"foo" bar', '"foo#bar"', "a b")),
  } satisfies Record<DirectiveName, fc.Arbitrary<string>>;
}

/** One character is changed, doubled, left out or put in. */
function mutate(line: string): fc.Arbitrary<string> {
  return fc
    .tuple(fc.nat(Math.max(line.length - 1, 0)), fc.nat(3), of(...' \t#"=:,.[]-09aZ_/', "é"))
    .map(([at, kind, character]) => {
      const [before, after] = [line.slice(0, at), line.slice(at + 1)];
      if (kind === 0) return before + character + after;
      if (kind === 1) return before + (line[at] ?? "") + (line[at] ?? "") + after;
      return kind === 2 ? before + after : before + character + line.slice(at);
    });
}

/** Whole files. */
export function configurationFile(options: GrammarOptions): fc.Arbitrary<string> {
  const { oddity } = options;
  const odd = (usual: fc.Arbitrary<string>, strange: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    seldom(oddity, strange, usual);
  const pools: Pools = {
    host: odd(hosts4, oddHosts4),
    host6: odd(hosts6, oddHosts6),
    port: odd(ports, oddPorts),
    method: odd(methods, oddMethods),
  };
  const values = valuesOf(options, pools);
  const names = Object.keys(directives) as DirectiveName[];
  const never = new Set<DirectiveName>(["timeout", "connecttimeout", "real", "real6"]);
  const isIn = (name: DirectiveName, scope: "global" | "section", family6: boolean): boolean =>
    !never.has(name) &&
    (directives[name].scope === "both" || directives[name].scope === scope) &&
    !(scope === "section" && name === (family6 ? "fallback" : "fallback6"));
  const equals = seldom(Math.ceil(oddity / 4), of(" = ", "=\t", " =", "= ", "", "=="), of("="));
  const directive = (scope: "global" | "section", family6: boolean): fc.Arbitrary<string> => {
    const usual = fc.constantFrom(...names.filter((name) => isIn(name, scope, family6)));
    const any = fc.constantFrom(...names.filter((name) => !name.startsWith("real")));
    const chosen = fc.oneof({ weight: Math.ceil(oddity / 8), arbitrary: any }, { weight: 100, arbitrary: usual });
    return chosen.chain((name) => joined(of(name), equals, values[name]));
  };
  const range = odd(
    of("10.0.0.4->10.0.0.6", "10.0.0.250->10.0.1.2"),
    of("10.0.0.4->7", "10.0.0.4->10.0.0.1", "10.0.0.4 -> 10.0.0.6", "10.0.0.9->[::1]"),
  );
  const real = (family6: boolean): fc.Arbitrary<string> => {
    const host = family6
      ? pools.host6
      : fc.oneof({ weight: 9, arbitrary: pools.host }, { weight: 1, arbitrary: range });
    const line = joined(
      of(family6 ? "real6" : "real"),
      equals,
      host,
      pools.port,
      odd(of(" ", "\t", "  "), of("", ",")),
      pools.method,
      odd(tails, oddTails),
    );
    return seldom(
      Math.ceil(oddity / 10),
      line.map((each) => each.replace("=", "=x y ")),
      line,
    );
  };
  const indentation = odd(of("\t", "    ", "      ", " \t", "\t\t"), of("\t", "    ", " ", "   ", "", "     "));
  const between = of("", "  ", "    ", "     ", "\t", "\t\t", "#c", "    # c", " #c", "\f", " \t ");
  const section = fc.boolean().chain((family6) => {
    const virtual6 = odd(
      of("[2001:db8::5]:80", "[2001:db8::5]:53", "[2001:db8::6]:443", "7"),
      joined(oddHosts6, odd(ports, oddPorts)),
    );
    const virtual4 = odd(
      of("10.10.10.53:80", "10.10.10.54:443", "10.10.10.53:53", "10.10.10.56:21", "3"),
      fc.oneof(
        of(
          "10.10.10.53:domain",
          "10.10.10.53:http x",
          "10.10.10.55:053",
          "10.10.10.58:0",
          "10.10.10.53",
          "7 x",
          "0",
          "1a",
          "localhost:http",
          "4294967296",
        ),
        joined(oddHosts4, odd(ports, oddPorts)),
      ),
    );
    const virtual = joined(
      of(family6 ? "virtual6" : "virtual"),
      equals,
      family6 ? virtual6 : virtual4,
      seldom(5, of(" # c", " "), of("")),
    );
    const line = fc.oneof(
      { weight: 40, arbitrary: joined(indentation, real(family6)) },
      { weight: 60, arbitrary: joined(indentation, directive("section", family6)) },
      { weight: Math.ceil(oddity / 5), arbitrary: between },
    );
    const lines = fc.oneof(
      { weight: 5, arbitrary: fc.array(line, { minLength: 1, maxLength: 3 }) },
      { weight: 2, arbitrary: fc.array(line, { maxLength: 8 }) },
    );
    return fc.tuple(virtual, lines).map(([head, body]) => [head, ...body]);
  });
  const globals = fc.array(
    joined(seldom(Math.ceil(oddity / 8), of(" ", "\t", "#"), of("")), directive("global", false)),
    { maxLength: 3 },
  );
  const blank = fc.array(of("", "# a comment", "   # another"), { maxLength: 1 });
  const lines = fc
    .tuple(globals, blank, fc.array(fc.tuple(section, blank), { maxLength: 2 }), globals)
    .map(([first, space, sections, last]) => [...first, ...space, ...sections.flat(2), ...last]);
  const file = fc
    .tuple(lines, seldom(3, of("\r\n"), of("\n")), seldom(5, of(""), of("\n")))
    .map(([each, separator, end]) => each.join(separator) + (each.length > 0 ? end : ""));
  return fc.oneof(
    { weight: Math.max(oddity, 1), arbitrary: file.chain((text) => mutate(text)) },
    { weight: 100, arbitrary: file },
  );
}
