import assert from "node:assert/strict";
import { test } from "node:test";
import { diagnose, parse } from "./surroundings.ts";

const v = "virtual=10.0.0.1:80\n";

/** What ldirectord 4.12 refuses: what it is, the text, every diagnostic. */
const refused: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "an unknown directive",
    "chekinterval=3\n",
    ['1:1: error: unknown directive "chekinterval"; did you mean "checkinterval"?'],
  ],
  ["upper case", "CheckInterval=3\n", ['1:1: error: unknown directive "CheckInterval"; did you mean "checkinterval"?']],
  ["a line without =", "quiescent\n", ['1:1: error: expected "=" after "quiescent"']],
  ["text", "hello world\n", ['1:1: error: expected a directive, found "hello world"']],
  [
    "a byte-order mark",
    "\uFEFFcheckinterval=3\n",
    ["1:1: error: the file begins with a byte-order mark: save it without one"],
  ],
  [
    "an indented global line",
    " checkinterval=3\n",
    ["1:1: error: expected a directive in column 1: no virtual= line is above this one"],
  ],
  [
    "too little indentation",
    `${v}   service=http\n`,
    ["2:1: error: expected an indentation of at least 4 columns, or a tab, inside a section"],
  ],
  [
    "a line of a section that has ended",
    `${v}autoreload=yes\n\tservice=http\n`,
    ["3:1: error: expected a directive in column 1: line 2 ends the section of line 1"],
  ],
  [
    "a section's directive outside",
    "real=10.0.0.2 gate\n",
    ['1:1: error: "real" belongs inside a virtual section: indent it under its virtual= line'],
  ],
  [
    "a global directive inside",
    `${v}\tautoreload=yes\n`,
    ['2:2: error: "autoreload" is a global directive: it must start in column 1'],
  ],
  ["an indented virtual", `${v}\tvirtual=10.0.0.1:81\n`, ['2:2: error: "virtual" must start in column 1']],
  [
    "yes in quotes",
    'quiescent="yes"\n',
    ['1:11: error: quiescent: expected yes or no, in lower case and without quotes, found "\\"yes\\""'],
  ],
  [
    "Yes",
    "quiescent=Yes\n",
    ['1:11: error: quiescent: expected yes or no, in lower case and without quotes, found "Yes"'],
  ],
  ["neither yes nor no", "fork=maybe\n", ['1:6: error: fork: expected yes or no, found "maybe"']],
  ["no number", "checkinterval=soon\n", ['1:15: error: checkinterval: expected a number, found "soon"']],
  [
    "zero",
    `failurecount=0\n${v}\tchecktimeout = 0\n`,
    [
      "1:14: error: failurecount: expected a number greater than 0",
      "3:17: error: checktimeout: expected a number greater than 0",
    ],
  ],
  ["00 as a global timeout", "checktimeout=00\n", ["1:14: error: checktimeout: expected a number greater than 0"]],
  [
    "old names",
    `timeout=3\n${v}\tconnecttimeout=3\n`,
    [
      '1:9: error: timeout: "timeout" is no longer known: write checktimeout and negotiatetimeout',
      '3:17: error: connecttimeout: "connecttimeout" is no longer known: write negotiatetimeout',
    ],
  ],
  [
    "no quotes where they are required",
    `${v}\treceive=ok\n`,
    ['2:10: error: receive: expected a value in double quotes, found "ok"'],
  ],
  [
    "an open quote",
    `${v}\trequest="/x\n`,
    ['2:10: error: request: expected a value in double quotes, found "\\"/x": the closing quote is missing'],
  ],
  ["an empty value in quotes", `${v}\treceive=""\n`, ["2:10: error: receive: expected a value that is not empty"]],
  [
    "a bad regular expression",
    `${v}\treal=10.0.0.2 gate 1 "a", "(b"\n\treceive="(ok"\n`,
    [
      '2:29: error: receive: expected a Perl regular expression, found "(b": missing closing parenthesis',
      '3:11: error: receive: expected a Perl regular expression, found "(ok": missing closing parenthesis',
    ],
  ],
  [
    "an unknown service",
    `${v}\tservice=gopher\n`,
    [
      "2:10: error: service: expected dns, ftp, http, https, http_proxy, imap, imaps, ldap, ldaps, mysql, nntp, none, " +
        'oracle, pgsql, pop, pops, radius, simpletcp, sip, smtp or submission, found "gopher"',
    ],
  ],
  [
    "an unknown checktype",
    `${v}\tchecktype=Connect\n`,
    ['2:12: error: checktype: expected connect in lower case, found "Connect"'],
  ],
  ["an unknown method", `${v}\thttpmethod=POST\n`, ['2:13: error: httpmethod: expected GET or HEAD, found "POST"']],
  [
    "a scheduler in upper case",
    `${v}\tscheduler=RR\n`,
    ['2:12: error: scheduler: expected a scheduler in lower-case letters, found "RR"'],
  ],
  [
    "a check port out of range",
    `${v}\tcheckport=65536\n`,
    ['2:12: error: checkport: expected a port from 1 to 65535, found "65536"'],
  ],
  [
    "netmasks",
    `${v}\tnetmask=24\nvirtual6=[::1]:80\n\tnetmask=129\n`,
    [
      '2:10: error: netmask: expected a netmask such as 255.255.255.0, found "24"',
      '4:10: error: netmask: expected a prefix length from 1 to 128, found "129"',
    ],
  ],
  [
    "fwm of an address, tcp of a mark",
    `${v}\tprotocol=fwm\nvirtual=1\n\tprotocol=tcp\n`,
    ['2:11: error: protocol: expected tcp or udp, found "fwm"', '4:11: error: protocol: expected fwm, found "tcp"'],
  ],
  [
    "email states",
    "emailalertstatus=none,all\nemailalertstatus=up\nemailalertfreq= x\nemailalert=\n",
    [
      "1:18: error: emailalertstatus: none cannot stand beside other states",
      '2:18: error: emailalertstatus: expected all, none, starting, running, stopping or reloading, found "up"',
      '3:17: error: emailalertfreq: expected a number, found "x"',
      "4:12: error: emailalert: expected a value that is not empty",
    ],
  ],
  [
    "files that cannot be written",
    `logfile="/nowhere/x"\n${v}\tmonitorfile=/nowhere/y\n`,
    [
      '1:9: error: logfile: cannot write to "/nowhere/x": no such directory',
      '3:14: error: monitorfile: cannot write to "/nowhere/y": no such directory',
    ],
  ],
  [
    "a log file that cannot be written, supervised too late",
    'logfile="/nowhere/x"\nsupervised=yes\n',
    ['1:9: error: logfile: cannot write to "/nowhere/x": no such directory'],
  ],
  [
    "a virtual line of no form",
    "virtual=:80\n",
    ['1:9: error: expected ADDRESS:PORT, HOST:PORT or a firewall mark, found ":80"'],
  ],
  ["IPv6 in virtual", "virtual=[::1]:80\n", ['1:9: error: an IPv6 address belongs in "virtual6="']],
  [
    "names nobody knows",
    "virtual=nobody:80\nvirtual=10.0.0.1:gopher\nvirtual=300.0.0.1:80\nvirtual=10.0.0.1:70000\n",
    [
      '1:9: error: virtual service: no IPv4 address for "nobody"',
      '2:18: error: virtual service: no service "gopher" with protocol tcp in /etc/services',
      '3:9: error: virtual service: no IPv4 address for "300.0.0.1"',
      '4:18: error: virtual service: expected a port from 0 to 65535, found "70000"',
    ],
  ],
  [
    "a service name of the other protocol",
    "virtual=10.0.0.1:syslog\n",
    ['1:18: error: virtual service: no service "syslog" with protocol tcp in /etc/services'],
  ],
  [
    "an IPv6 address without brackets",
    "virtual6=[::1]:80\n\treal6=2001:db8::2:80 gate\n",
    ["2:8: error: real6: an IPv6 address must stand in brackets, such as [2001:db8::1]:80"],
  ],
  [
    "duplicates",
    "virtual=10.0.0.1:80\nvirtual=10.0.0.1:http\nvirtual=7\nvirtual=7\n",
    [
      "2:1: error: the virtual service tcp:10.0.0.1:80 is on line 1 already",
      "4:1: error: the virtual service fwm:7 is on line 3 already",
    ],
  ],
  [
    "the wrong family",
    `${v}\treal6=[::1] gate\nvirtual6=[::1]:80\n\tfallback=127.0.0.1\n`,
    [
      '2:2: error: expected "real" in a section of "virtual", found "real6"',
      '4:2: error: expected "fallback6" in a section of "virtual6", found "fallback"',
    ],
  ],
  [
    "a real line of no form",
    `${v}\treal=10.0.0.2\n`,
    [
      '2:7: error: real: expected HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N], found "10.0.0.2"',
    ],
  ],
  [
    "a forwarding method in upper case",
    `${v}\treal=10.0.0.2:80 GATE\n`,
    ['2:19: error: real: expected the forwarding method gate, masq or ipip, found "GATE"'],
  ],
  [
    "a negative weight",
    `${v}\treal=10.0.0.2:80 gate -1\n`,
    [
      '2:24: error: real: "-1" cannot be read; expected HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]',
    ],
  ],
  [
    "a real nobody knows",
    `${v}\treal=nobody:gopher gate\n`,
    [
      '2:7: error: real server: no IPv4 address for "nobody"',
      '2:14: error: real server: no service "gopher" in /etc/services',
    ],
  ],
  [
    "ranges",
    `${v}\treal=10.0.0.9->7:80 gate\n\treal=1.0.0.0->9.0.0.0 gate\nvirtual6=[::1]:80\n\treal6=[::2]->[::3] gate\n`,
    [
      "2:17: error: real server: expected an address from 10.0.0.9 on, found 0.0.0.7; write the whole address",
      "3:16: error: real server: expected a range of at most 65536 addresses, found 134217729",
      "5:15: error: real server: a range of addresses can only be IPv4",
    ],
  ],
  [
    "fallbacks",
    `fallback=gate\n${v}\tfallback=127.0.0.1:80 GATE\n\tfallback=127.0.0.1:gopher\nvirtual=8\n\tfallback=127.0.0.1:http\n`,
    [
      '1:10: error: fallback: no IPv4 address for "gate"; the host is missing',
      '3:24: error: fallback: expected the forwarding method gate, masq or ipip, found "GATE"',
      '4:21: error: fallback: no service "gopher" with protocol tcp in /etc/services',
      '6:21: error: fallback: expected a number for the port under a firewall mark, found "http"',
    ],
  ],
  [
    "a global fallback with a name known for tcp only",
    "fallback=127.0.0.1:http\n",
    ['1:20: error: fallback: no service "http" with protocol udp in /etc/services'],
  ],
  [
    "a comment after a global fallback",
    "fallback=127.0.0.1:80 # sorry\n",
    [
      '1:25: error: fallback: expected the forwarding method gate, masq or ipip, found "sorry"; no comment can follow here',
    ],
  ],
  [
    "empty values",
    "maintenancedir=\nemailalertfrom=\nfallbackcommand= \n",
    [
      "1:16: error: maintenancedir: expected a value that is not empty",
      "2:16: error: emailalertfrom: expected a value that is not empty",
      "3:18: error: fallbackcommand: expected a value that is not empty",
    ],
  ],
];

for (const [what, text, expected] of refused) {
  test(`refused, with every error at its place: ${what}`, async () => {
    assert.deepEqual(await diagnose(text), expected);
    assert.equal((await parse(text)).config, undefined);
  });
}

test("a line with an error does not hide the errors of the lines after it", async () => {
  const text = "virtual=!\n\treal=nobody gate\n\tservice=gopher\nquiescent=maybe\n";
  assert.deepEqual(
    (await diagnose(text)).map((each) => each.split(": ")[0]),
    ["1:9", "2:7", "3:10", "4:11"],
  );
});

test("columns count characters as written, a tab being one", async () => {
  assert.deepEqual(await diagnose(`${v}\tcomment=täst\n \t receive\t=\tx\n`), [
    '3:14: error: receive: expected a value in double quotes, found "x"',
  ]);
});
