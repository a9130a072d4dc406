/** Both ways of a mail, with a real mail server and its real sendmail. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Destination } from "../../src/notify/alert.ts";
import { sendMail } from "../../src/notify/send-mail.ts";
import { mailDomain, postfixIsMissing, startPostfix } from "../support/servers/postfix.ts";
import type { Postfix } from "../support/servers/postfix.ts";

const patient = AbortSignal.timeout(120_000);
const ops = `ops@${mailDomain}`;
const night = `night@${mailDomain}`;
const subject = "[shop] Deleted real server: 192.168.200.102:80 (10.10.10.53:80)";

function mailTo(destination: Partial<Destination>, body = "ldirectord host: director\n") {
  return { destination: { to: [ops], from: "", smtp: "", ...destination }, subject, body };
}

describe("mails", { skip: postfixIsMissing }, () => {
  let postfix: Postfix;

  before(async () => {
    postfix = await startPostfix("ops", "night");
  });

  after(() => postfix.stop());

  /** The mails that were delivered since the call before, one for each recipient. */
  let seen = 0;
  async function delivered(count: number): Promise<string[]> {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const mails = postfix.mails();
      if (mails.length >= seen + count) {
        const fresh = mails.slice(seen);
        seen = mails.length;
        return fresh;
      }
      assert.ok(performance.now() < deadline, `${mails.length - seen} of ${count} mails have come`);
      await sleep(20);
    }
  }

  test("A mail server gets each address by itself, and the sender of the file", async () => {
    const from = '"Director, alerts" <director@alerts.example>';
    const mail = mailTo({ to: [ops, night], from, smtp: postfix.address });
    assert.deepEqual(await sendMail(mail, patient, { port: postfix.port }), []);
    const both = await delivered(2);
    const recipients = both.map((text) => /^Delivered-To: (.*)$/m.exec(text)?.[1]).sort();
    assert.deepEqual(recipients, [night, ops]);
    for (const text of both) {
      assert.match(text, /^Return-Path: <director@alerts\.example>$/m);
      assert.match(text, /^From: "Director, alerts" <director@alerts\.example>$/m);
      assert.ok(text.includes(`Subject: ${subject.slice(0, 60)}`));
      assert.match(text, /^Auto-Submitted: auto-generated$/m);
      assert.match(text, /^ldirectord host: director$/m);
    }
  });

  test("Without emailalertfrom the sender is who runs the director, on this machine", async () => {
    const { username } = (await import("node:os")).userInfo();
    await sendMail(mailTo({ smtp: postfix.address }), patient, { port: postfix.port });
    const [text = ""] = await delivered(1);
    assert.match(text, new RegExp(`^From: ${username}@`, "m"));
  });

  test("An address that the server refuses does not keep the others from the mail", async () => {
    const mail = mailTo({ to: [`nobody@${mailDomain}`, ops], smtp: postfix.address });
    const refused = await sendMail(mail, patient, { port: postfix.port });
    assert.equal(refused.length, 1);
    assert.match(refused[0]!, /^nobody@alerts\.example refused: .*550/);
    assert.equal((await delivered(1)).length, 1);
  });

  test("If nobody gets it that is an error with the server's words", async () => {
    const mail = mailTo({ to: [`nobody@${mailDomain}`], smtp: postfix.address });
    await assert.rejects(sendMail(mail, patient, { port: postfix.port }), /550/);
    await assert.rejects(sendMail(mailTo({ smtp: postfix.address }), patient, { port: postfix.refusingPort }), /554/);
  });

  test("A long line stays one, and what is not ASCII arrives", async () => {
    const line = `Log-Message: ${"x".repeat(200)}`;
    await sendMail(mailTo({ smtp: postfix.address }, `${line}\n`), patient, { port: postfix.port });
    const [text = ""] = await delivered(1);
    assert.match(text, new RegExp(`^${line}$`, "m"));
    await sendMail(mailTo({ smtp: postfix.address }, "Comment: für Übel\n"), patient, { port: postfix.port });
    const [encoded = ""] = await delivered(1);
    assert.match(encoded, /^Comment: f=C3=BCr =C3=9Cbel$/m);
  });

  test("The local mail program delivers, and knows the sender itself", async () => {
    process.env["MAIL_CONFIG"] = postfix.configuration;
    try {
      assert.deepEqual(await sendMail(mailTo({ to: [ops, night] }, "one\n.\ntwo\n"), patient), []);
    } finally {
      delete process.env["MAIL_CONFIG"];
    }
    const [text = ""] = await delivered(2);
    assert.match(text, /^From: /m);
    assert.match(text, /^one\r?\n\.\r?\ntwo$/m, "a line with a dot alone ends nothing");
  });

  test("What the local mail program says of its failure is told", async () => {
    const mail = mailTo({});
    await assert.rejects(sendMail(mail, patient, { sendmail: "/nowhere/sendmail" }), /ENOENT/);
    process.env["MAIL_CONFIG"] = "/nowhere";
    try {
      await assert.rejects(sendMail(mail, patient), /sendmail: exit status \d+: .*nowhere/);
    } finally {
      delete process.env["MAIL_CONFIG"];
    }
  });
});

test("A mail server that says nothing is given up when the time is over", async (t) => {
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const mail = { destination: { to: [ops], from: "", smtp: "127.0.0.1" }, subject, body: "" };
  await assert.rejects(sendMail(mail, AbortSignal.timeout(100), { port }), /too slow/);
});

test("Nobody at the mail server's port is an error", async () => {
  const mail = { destination: { to: [ops], from: "", smtp: "127.0.0.1" }, subject, body: "" };
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await assert.rejects(sendMail(mail, patient, { port }), /ECONNREFUSED/);
});
