import assert from "node:assert/strict";
import { test } from "node:test";
import { configOf, diagnose, parse, serviceOf } from "./surroundings.ts";

const v = "virtual=10.0.0.1:80\n";

/** What is accepted with a word about it: what it is, the text, every diagnostic. */
const warned: readonly (readonly [string, string, readonly string[]])[] = [
  ["nothing", "", []],
  ["comments and blank lines", "# a\n\n   # b\n", []],
  ["a bare virtual line at the end", v, []],
  ["the same address for tcp and udp", `${v}${v}\tprotocol=udp\n`, []],
  [
    "every kind of indentation",
    `${v}    real=10.0.0.2 gate\n \treal=10.0.0.3 gate\n\t\treal=10.0.0.4 gate\n  # c\n\tservice=none\n`,
    [],
  ],
  [
    "a trailing comment in a section",
    `${v}\tservice=http# c\n\treal=10.0.0.2:80 gate 3 # c\n\treceive="x" # "y"\n`,
    [],
  ],
  [
    "blanks after yes and no",
    "quiescent=yes \n",
    ["1:14: warning: quiescent: ldirectord refuses blanks after this value; ignored here"],
  ],
  [
    "a comment after yes and no",
    `fork=no # c\n${v}\tquiescent=yes # c\n`,
    [
      "1:8: warning: fork: ldirectord refuses a comment after this value; ignored here",
      "3:15: warning: quiescent: ldirectord refuses blanks after this value; ignored here",
    ],
  ],
  [
    "CR LF",
    "fork=yes\r\nautoreload=no\r\n",
    [
      "1:9: warning: lines end in CR LF; the carriage returns are ignored, which ldirectord does not do everywhere",
      "1:9: warning: fork: ldirectord refuses blanks after this value; ignored here",
      "2:14: warning: autoreload: ldirectord refuses blanks after this value; ignored here",
    ],
  ],
  [
    "# inside quotes",
    `${v}\trequest="/a#b" # c\n\treal=10.0.0.2:80 gate 1 "x#y", "z"\n`,
    [
      '2:13: warning: this "#" inside quotes is part of the value; ldirectord refuses such a line',
      '3:28: warning: this "#" inside quotes is part of the value; ldirectord refuses such a line',
    ],
  ],
  [
    "# inside quotes where ldirectord cuts",
    `${v}\tvirtualhost="a#b"\n`,
    ['2:16: warning: everything from this "#" on is a comment, as for ldirectord, although it stands in quotes'],
  ],
  [
    "a blank line inside a section",
    `${v}\n\treal=10.0.0.2:80 gate\n\tservice=http\n`,
    [
      "3:1: warning: taken for a part of the section of line 1; for ldirectord the blank line 2 ends that section and this line is an error",
    ],
  ],
  [
    "a line of five blanks inside a section",
    `${v}     \n\tservice=http\n`,
    ["2:1: warning: ldirectord refuses blanks on an otherwise empty line here"],
  ],
  [
    "first number, first word",
    `checkinterval=6min\n${v}\tservice=http foo\n\tchecktype="connect"\n\tscheduler=Wrr\n`,
    [
      '1:15: warning: checkinterval: only "6" of "6min" is read',
      '3:10: warning: service: only "http" of "http foo" is read',
      '4:12: warning: checktype: only "connect" of "\\"connect\\"" is read',
      '5:12: warning: scheduler: only "rr" of "Wrr" is read',
    ],
  ],
  [
    "repeats",
    "quiescent=no\nquiescent=yes\n",
    ['2:1: warning: "quiescent" stands on line 1 already; the last one counts'],
  ],
  [
    "an address without a port",
    "virtual=10.10.10.53\n",
    ["1:9: warning: without a port this is not an address but the firewall mark 10"],
  ],
  [
    "text after the port",
    "virtual=10.0.0.1:80 web\nvirtual=10.0.0.1:81 # c\n",
    ["1:20: warning: what follows the port is ignored"],
  ],
  [
    "checktype=off with a fallback",
    `fallback=127.0.0.1\n${v}\tchecktype=off\n`,
    [
      "3:12: warning: with checktype=off no real server ever comes up and the fallback is used, other than ldirectord's manual says",
    ],
  ],
  [
    "dns without receive",
    'virtual=10.0.0.1:53\n\treal=10.0.0.2:53 gate\n\trequest="x"\n',
    ["1:1: warning: a dns check without receive never succeeds: no real server comes up"],
  ],
  [
    "ftp without receive",
    "virtual=10.0.0.1:21\n\treal=10.0.0.2:21 gate\n",
    [
      "1:1: warning: an ftp check without receive succeeds in ldirectord even if no server is there; here the server must greet, and grant the login and the request if they are set",
    ],
  ],
  [
    "simpletcp without receive",
    'virtual=10.0.0.1:7\n\treal=10.0.0.2:7 gate\n\tservice=simpletcp\n\trequest="x"\n',
    [
      "3:10: warning: a simpletcp check without receive depends on chance in ldirectord; here any line of an answer will do",
    ],
  ],
  [
    "a check through a proxy without a whole address",
    "virtual=10.0.0.1:3128\n\treal=10.0.0.2:3128 gate\n",
    [
      "1:1: warning: a check through a proxy asks for a whole address, such as http://www.example/: with another request no real server comes up",
    ],
  ],
  [
    "a check of https through a proxy",
    'virtual=10.0.0.1:3128\n\treal=10.0.0.2:3128 gate\n\trequest="https://www.example/"\n',
    ["3:10: warning: https is fetched directly, as with ldirectord: the real servers are not asked"],
  ],
  [
    "a per-real request with a leading slash",
    `${v}\treal=10.0.0.2:80 gate 1 "/a", "b"\n`,
    [
      '2:27: warning: real: the request and receive of this line are used; ldirectord ignores them when the request is written with a leading "/"',
    ],
  ],
  [
    "garbage that ldirectord forgets",
    `${v}\treal=(10.0.0.2:80 gate x 3\n`,
    [
      '2:7: warning: real: "(" is ignored: the real server is read as "10.0.0.2:80 gate x 3"',
      '2:20: warning: real: "x" on this line is ignored',
    ],
  ],
  [
    "a real server with two colons",
    "virtual=10.0.0.1:5060\n\treal=10.0.0.2::5060 gate\n",
    [
      '2:7: warning: real: "10.0.0.2::" is ignored: the real server is read as "5060 gate"',
      '2:17: warning: 0.0.19.196 ("5060") is no server\'s address: it gets no connections, as with ldirectord, whose ipvsadm fails',
    ],
  ],
  [
    "ports that ldirectord loses sight of",
    `${v}\tquiescent=yes\n\treal=10.0.0.2 gate\n\treal=10.0.0.3 masq\n\treal=10.0.0.4:80 gate\n`,
    [
      "3:7: warning: under quiescent=yes ldirectord never gives a real server its weight back whose port is not 80; xlb does",
    ],
  ],
  [
    "a range that ldirectord compares as text",
    `${v}\treal=59.154.201.254->59.154.202.2 gate\n`,
    ["2:23: warning: ldirectord makes no real servers of this range, whose ends it compares as text; xlb makes them"],
  ],
  [
    "ports that gate does not change",
    `${v}\treal=10.0.0.2:8080 gate\n`,
    ["2:16: warning: gate does not change ports: packets go to port 80, checks to port 8080"],
  ],
  [
    "what IPVS refuses",
    `${v}\tscheduler=best\nvirtual=10.0.0.2:80\n\tpersistent=0\nvirtual=10.0.0.3:0\nvirtual=0\n`,
    [
      '2:12: warning: IPVS has no scheduler "best": there is no service tcp:10.0.0.1:80, as with ldirectord, whose ipvsadm fails',
      "4:13: warning: persistent is a number from 1 to 2678400: there is no service tcp:10.0.0.2:80, as with ldirectord, whose ipvsadm fails",
      "5:1: warning: port 0, all ports, needs persistent: there is no service tcp:10.0.0.3:0, as with ldirectord, whose ipvsadm fails",
      "6:1: warning: a firewall mark is a number from 1 to 4294967295: there is no service fwm:0, as with ldirectord, whose ipvsadm fails",
    ],
  ],
  [
    "thresholds that IPVS refuses",
    `${v}\treal=10.0.0.2:80 gate l:5\n`,
    [
      "2:7: warning: the lower threshold l:N must not be above the upper one u:N: it gets no connections, as with ldirectord, whose ipvsadm fails",
    ],
  ],
  [
    "a real server twice",
    `${v}\treal=10.0.0.2:80 gate 1\n\treal=10.0.0.2:80 gate 2\n`,
    ["3:7: warning: the real server 10.0.0.2:80 is on line 2 already; the last one counts"],
  ],
  [
    "directives without effect",
    `${v}\tcheckinterval=3\n\tnetmask=255.255.255.0\n\tops=yes\n`,
    [
      "2:16: warning: checkinterval in a section has no effect without fork=yes",
      "3:10: warning: netmask has no effect without persistent",
      "4:6: warning: ops has no effect unless protocol is udp",
    ],
  ],
  [
    "one-packet scheduling with masq, whose answers find no client",
    `${v}\treal=10.0.0.2:80 gate\n\treal=10.0.0.3:53 masq\n\tprotocol=udp\n\tops=yes\n\tchecktype=on\n`,
    [
      "3:7: warning: with ops=yes nothing remembers whose packet this masq server got, here as with IPVS: its answer leaves with its own address, which clients do not take",
    ],
  ],
  [
    "a log file that cannot be written and is not needed",
    'supervised=yes\nlogfile="/nowhere/x"\n',
    ['2:9: warning: logfile: cannot write to "/nowhere/x": no such directory; supervised, none is written'],
  ],
  [
    "checkcount and a bare supervised",
    "checkcount=3\nsupervised\n",
    [
      '1:1: warning: "checkcount" is deprecated and only counts the tries of a ping check; see failurecount',
      "2:1: warning: write supervised=yes",
    ],
  ],
  [
    "a maintenance directory that is not there",
    "maintenancedir=/nowhere\n",
    ['1:16: warning: maintenancedir: there is no directory "/nowhere"'],
  ],
];

for (const [what, text, expected] of warned) {
  test(`accepted: ${what}`, async () => {
    assert.deepEqual(await diagnose(text), expected);
    assert.notEqual((await parse(text)).config, undefined);
  });
}

test("that quiescent is left out is said once, at the first service it is about", async () => {
  const { diagnostics } = await parse(`${v}\tquiescent=yes\nvirtual=10.0.0.2:80\nvirtual=10.0.0.3:80\n\n`);
  assert.deepEqual(
    diagnostics.map(({ line, message }) => [line, message]),
    [[2 + 1, "quiescent is not set and is no, as in ldirectord's program; ldirectord's manual says yes"]],
  );
});

test("an empty file manages nothing", async () => {
  assert.deepEqual(await configOf(""), {
    file: "f",
    services: [],
    autoreload: false,
    logFile: "/var/log/ldirectord.log",
    supervised: false,
    fork: false,
    readdQuiescent: false,
    maintenanceDir: "",
    callback: "",
    execute: [],
    emailAlertFrom: "",
  });
});

test("a service name, a port and a mark decide what is checked by default", async () => {
  const { services } = await configOf(
    'virtual=10.0.0.1:https\n\treal=10.0.0.2 gate\nvirtual=10.0.0.1:domain\n\treal=10.0.0.2 gate\n\treceive="x"\n' +
      "virtual=10.0.0.1:81\n\treal=10.0.0.2 gate\nvirtual=7\n\treal=10.0.0.2:80 masq\nvirtual6=8\n\treal6=[::2] gate\n",
  );
  assert.deepEqual(
    services.map(({ identity, realServers }) => [
      identity.kind === "mark" ? identity.family : identity.protocol,
      realServers[0]?.check.service,
      realServers[0]?.check.port,
      realServers[0]?.port,
    ]),
    [
      ["tcp", "https", 443, 443],
      ["udp", "dns", 53, 53],
      ["tcp", "none", 0, 81],
      ["ipv4", "none", 80, 80],
      ["ipv6", "none", 0, 0],
    ],
  );
});

test("gate and ipip have the virtual service's port in the table, masq its own, and checks the configured one", async () => {
  const { realServers } = await serviceOf(
    `${v}\treal=10.0.0.2:8080 gate\n\treal=10.0.0.3:8080 masq\n\treal=10.0.0.4 masq\n\treal=10.0.0.5 ipip\n`,
  );
  assert.deepEqual(
    realServers.map(({ method, port, check }) => [method, port, check.realPort, check.port]),
    [
      ["gate", 80, 8080, 8080],
      ["masq", 8080, 8080, 8080],
      ["masq", 0, 0, 80],
      ["ipip", 80, 0, 80],
    ],
  );
});

test("checkport sends every check to one port", async () => {
  const { realServers } = await serviceOf(`${v}\tcheckport=99\n\treal=10.0.0.2:80 gate\n\treal=10.0.0.3 gate\n`);
  assert.deepEqual(
    realServers.map(({ check }) => check.port),
    [99, 99],
  );
});

test("a range has every address from the first to the last, over powers of ten too", async () => {
  const { realServers } = await serviceOf(
    `${v}\treal=59.154.201.254->59.154.202.2:80 gate 3\n\treal=web1->web3.example.com gate\n`,
  );
  assert.deepEqual(
    realServers.map(({ address, weight }) => `${address} ${weight}`),
    [
      "59.154.201.254 3",
      "59.154.201.255 3",
      "59.154.202.0 3",
      "59.154.202.1 3",
      "59.154.202.2 3",
      "10.0.0.11 1",
      "10.0.0.12 1",
      "10.0.0.13 1",
    ],
  );
});

test("a real server's line has weight, request, receive and thresholds, with a comma or a blank between quotes", async () => {
  for (const pair of ['"a", "b c"', '"a","b c"', '"a" "b c"', '"/a", "b c"']) {
    const { realServers } = await serviceOf(`${v}\treal=10.0.0.2:80 gate 0 ${pair} l:1 u:5\n`);
    const [{ weight, lowerThreshold, upperThreshold, check } = assert.fail()] = realServers;
    assert.deepEqual(
      { weight, lowerThreshold, upperThreshold, request: check.request, receive: check.receive },
      { weight: 0, lowerThreshold: 1, upperThreshold: 5, request: "/a", receive: "b c" },
    );
  }
});

test("the last of two lines for one real server counts, at the first one's place", async () => {
  const { realServers } = await serviceOf(
    `${v}\treal=10.0.0.2 gate\n\treal=10.0.0.3 gate\n\treal=10.0.0.2:80 ipip 7\n`,
  );
  assert.deepEqual(
    realServers.map((each) => `${each.address} ${each.method} ${each.weight}`),
    ["10.0.0.2 ipip 7", "10.0.0.3 gate 1"],
  );
});

/** Timeouts of section and globals, and what holds: check, negotiate, in seconds. */
const timeouts: readonly (readonly [globals: string, own: string, check: number, negotiate: number])[] = [
  ["", "", 5, 30],
  ["checktimeout=3\n", "", 3, 3],
  ["negotiatetimeout=4\n", "", 4, 4],
  ["checktimeout=3\nnegotiatetimeout=4\n", "", 3, 4],
  ["checktimeout=3\nnegotiatetimeout=4\n", "\tchecktimeout=7\n", 7, 7],
  ["checktimeout=3\nnegotiatetimeout=4\n", "\tnegotiatetimeout=8\n", 8, 8],
  ["checktimeout=3\n", "\tchecktimeout=7\n\tnegotiatetimeout=8\n", 7, 8],
];
for (const [globals, own, check, negotiate] of timeouts) {
  test(`timeouts stand in for each other: ${JSON.stringify(globals + own)}`, async () => {
    const { realServers } = await serviceOf(`${globals}${v}${own}\treal=10.0.0.2 gate\n`);
    assert.equal(realServers[0]?.check.checkTimeoutMs, check * 1000);
    assert.equal(realServers[0]?.check.negotiateTimeoutMs, negotiate * 1000);
  });
}

test("a section's own value overrides the global one, wherever that stands", async () => {
  const text =
    `${v}\tquiescent=no\n\tcleanstop=yes\n\tfailurecount=2\n\temailalert=a@b\n\tcheckinterval=3\n\tfallbackcommand="/own x"\n` +
    'quiescent=yes\ncleanstop=no\nfailurecount=9\nemailalert="c@d, e@f"\ncheckinterval=8\nfork=yes\nfallbackcommand=/global\n' +
    "virtual=10.0.0.2:80\n";
  const { services } = await configOf(text);
  assert.deepEqual(
    services.map((each) => [
      each.quiescent,
      each.cleanStop,
      each.failureCount,
      each.emailAlert.to,
      each.checkIntervalMs,
      each.fallbackCommand,
    ]),
    [
      [false, true, 2, ["a@b"], 3000, "/own x"],
      [true, false, 9, ["c@d", "e@f"], 8000, "/global"],
    ],
  );
});

test("a fallback is the section's own, else the global one of its family", async () => {
  const { services } = await configOf(
    "fallback=127.0.0.1:8080 masq\nfallback6=[::1]\nvirtual=10.0.0.1:80\nvirtual6=[2001:db8::1]:80\n" +
      "virtual=10.0.0.2:80\n\tfallback=web1:81\nvirtual=7\nvirtual=10.0.0.3:81\n\tfallback=:82 0\n",
  );
  assert.deepEqual(
    services.map(({ fallback }) => fallback),
    [
      { address: "127.0.0.1", port: 8080, method: "masq" },
      { address: "::1", port: 80, method: "gate" },
      { address: "10.0.0.11", port: 80, method: "gate" },
      { address: "127.0.0.1", port: 8080, method: "masq" },
      { address: "127.0.0.1", port: 81, method: "gate" },
    ],
  );
});

test("IPv6 addresses are put in their short form, and host names need no brackets", async () => {
  const service = await serviceOf(
    "virtual6=[2001:DB8:0:0::1]:80\n\treal6=web1:80 gate\n\tnetmask=64\n\tpersistent=9\n",
  );
  assert.deepEqual(service.identity, { kind: "address", protocol: "tcp", address: "2001:db8::1", port: 80 });
  assert.equal(service.realServers[0]?.address, "2001:db8::11");
  assert.deepEqual(service.persistence, { timeout: 9, prefix: 64 });
});

test("default logins come from an explicit service line only", async () => {
  const login = async (text: string): Promise<unknown[]> => {
    const check = (await serviceOf(text)).realServers[0]?.check;
    return [check?.login, check?.password];
  };
  const real = "\treal=10.0.0.2 gate\n";
  assert.deepEqual(await login(`virtual=10.0.0.1:21\n${real}`), ["", ""]);
  assert.deepEqual(await login(`virtual=10.0.0.1:21\n${real}\tservice=ftp\n`), ["anonymous", "ldirectord@director"]);
  assert.deepEqual(await login(`virtual=10.0.0.1:21\n${real}\tlogin="me"\n\tservice=ftp\n`), [
    "me",
    "ldirectord@director",
  ]);
  assert.deepEqual(await login(`virtual=10.0.0.1:5060\n${real}\tservice=sip\n`), ["ldirectord@director", ""]);
});

test("a number in checktype is a combined check", async () => {
  const { realServers } = await serviceOf(`${v}\tchecktype=connect2\n\treal=10.0.0.2 gate\n`);
  assert.deepEqual(realServers[0]?.check.type, { kind: "combined", connects: 2 });
});

test("quotes reach to the line's last one and are not escaped", async () => {
  const { realServers } = await serviceOf(`${v}\treceive = "a"b\\" tail\n\treal=10.0.0.2 gate\n`);
  assert.equal(realServers[0]?.check.receive, 'a"b\\');
});

test("tabs inside a section's values become four blanks", async () => {
  const { realServers } = await serviceOf(`${v}\treceive="a\tb"\n\treal=10.0.0.2 gate\n`);
  assert.equal(realServers[0]?.check.receive, "a    b");
});

test("bytes that are not UTF-8 are read as ISO 8859-1, line by line", async () => {
  const bytes = Buffer.concat([Buffer.from(`${v}\tservicename=B\u00fcro\n\tcomment=`), Buffer.from([0xfc, 0x0a])]);
  const { config, diagnostics } = await parse(bytes);
  assert.equal(config?.services[0]?.serviceName, "B\u00fcro");
  assert.equal(config?.services[0]?.comment, "\u00fc");
  assert.deepEqual(
    diagnostics.filter(({ message }) => message.includes("UTF-8")).map(({ line }) => line),
    [3],
  );
});

test("10,000 real servers in 1,000 services are read in a moment", async (t) => {
  const section = (index: number): string =>
    `virtual=10.${index >> 8}.${index & 255}.1:80\n\tservice=http\n\trequest="/check"\n\treceive="ok"\n` +
    Array.from(
      { length: 10 },
      (_, each) => `\treal=10.200.${index & 255}.${each + 1}:80 gate 5 "a${each}", "b"\n`,
    ).join("");
  const text = `quiescent=no\n${Array.from({ length: 1000 }, (_, index) => section(index)).join("")}`;
  const before = process.cpuUsage();
  const config = await configOf(text);
  const { user, system } = process.cpuUsage(before);
  assert.equal(
    config.services.reduce((sum, each) => sum + each.realServers.length, 0),
    10_000,
  );
  t.diagnostic(`${Math.round((user + system) / 1000)} ms of a processor`);
  // Ten times what it takes: what it must not be is quadratic.
  assert.ok(user + system < 10_000_000, `${user + system} us`);
});

test("a last line that opens a section is taken, which ldirectord does not do", async () => {
  for (const [text, expected] of [
    ["virtual=10.0.0.1:80\n", true],
    ["virtual=7", true],
    ["virtual=7\n\n", false],
    ["virtual=7\n# c\n", false],
  ] as const) {
    const { diagnostics } = await parse(text);
    assert.equal(
      diagnostics.some(({ message }) => message.includes("a file that ends in this line for a duplicate")),
      expected,
      text,
    );
  }
});
