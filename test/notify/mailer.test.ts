import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { composeMail } from "../../src/notify/alert.ts";
import type { Alert, Mail } from "../../src/notify/alert.ts";
import { Mailer } from "../../src/notify/mailer.ts";
import type { SendMail } from "../../src/notify/mailer.ts";

const destination = { to: ["ops@alerts.example"], from: "", smtp: "mail.example" };

function alert(text: string, changes: Partial<Alert> = {}): Alert {
  return { destination, text, phase: "running", serviceName: "", comment: "", ...changes };
}

const quick = { gatherMs: 5, gapMs: 40, retryMs: 10, longestRetryMs: 20, sendTimeoutMs: 5_000 };

function start(t: TestContext, send: SendMail, times = quick) {
  const lines: string[] = [];
  const note = (line: string): void => void lines.push(line);
  const mailer = new Mailer({ send, host: "director", log: { info: note, warn: note, error: note } }, times);
  const ending = new AbortController();
  const running = mailer.run(ending.signal);
  t.after(async () => {
    ending.abort();
    await running;
  });
  return { mailer, lines, ending, running };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "not seen in time");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test("A single alert is the mail that ldirectord sends", () => {
  const named = alert("Deleted real server: 10.0.0.2:80 (10.0.0.1:80)", { serviceName: "shop", comment: "front end" });
  assert.deepEqual(composeMail([named], 0, "director"), {
    destination,
    subject: "[shop] Deleted real server: 10.0.0.2:80 (10.0.0.1:80)",
    body: `ldirectord host: director
Log-Message: [shop] Deleted real server: 10.0.0.2:80 (10.0.0.1:80)
Daemon-Status: running

Service name: shop
Comment: front end
`,
  });
});

test("Several alerts are one mail, which says how many they are", () => {
  const { subject, body } = composeMail([alert("one"), alert("two", { phase: "reloading" })], 3, "director");
  assert.equal(subject, "one (and 4 more)");
  assert.equal(
    body,
    `ldirectord host: director
Log-Message: one
Daemon-Status: running

Log-Message: two
Daemon-Status: reloading

3 more before these are left out; the log has them.
`,
  );
});

test("What comes together is one mail, what comes soon after it waits for the gap", async (t) => {
  const mails: { at: number; mail: Mail }[] = [];
  const { mailer } = start(t, (mail) => {
    mails.push({ at: performance.now(), mail });
    return Promise.resolve([]);
  });
  mailer.post(alert("one"));
  mailer.post(alert("two"));
  await until(() => mails.length === 1);
  mailer.post(alert("three"));
  mailer.post(alert("four"));
  await until(() => mails.length === 2);
  assert.deepEqual(
    mails.map(({ mail }) => mail.subject),
    ["one (and 1 more)", "three (and 1 more)"],
  );
  assert.ok(mails[1]!.at - mails[0]!.at >= quick.gapMs - 1);
});

test("Destinations do not wait for each other", async (t) => {
  const done: string[] = [];
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  t.after(() => release());
  const { mailer } = start(t, async (mail) => {
    if (mail.destination.smtp === "slow.example") await held;
    done.push(mail.destination.smtp);
    return [];
  });
  mailer.post(alert("one", { destination: { ...destination, smtp: "slow.example" } }));
  mailer.post(alert("one"));
  await until(() => done.length === 1);
  assert.deepEqual(done, ["mail.example"]);
});

test("A mail that fails is tried again with what has come meanwhile, and each failure is logged", async (t) => {
  const subjects: string[] = [];
  let failures = 2;
  const { mailer, lines } = start(t, (mail) => {
    subjects.push(mail.subject);
    if (failures === 0) return Promise.resolve(["other@alerts.example refused: 550 no such user"]);
    failures -= 1;
    if (failures === 1) mailer.post(alert("two"));
    return Promise.reject(new Error("connection refused"));
  });
  mailer.post(alert("one"));
  await until(() => lines.length === 3);
  assert.deepEqual(subjects, ["one", "one (and 1 more)", "one (and 1 more)"]);
  assert.match(lines[0]!, /failed to send email message to ops@alerts\.example: connection refused; the next try/);
  assert.equal(lines[2], "emailalert: other@alerts.example refused: 550 no such user");
});

test("What cannot be sent at all is given up in the end, and is told", async (t) => {
  const { mailer, lines } = start(t, () => Promise.reject(new Error("no route")), {
    ...quick,
    retryMs: 1,
    longestRetryMs: 1,
  });
  mailer.post(alert("one"));
  await until(() => lines.some((line) => line.endsWith("1 alerts are given up")));
  assert.equal(lines.length, 10);
});

test("The queue is bounded: the oldest alerts are left out and counted", async (t) => {
  const mails: Mail[] = [];
  const { mailer } = start(t, (mail) => Promise.resolve([]).finally(() => mails.push(mail)));
  for (let index = 0; index < 700; index++) mailer.post(alert(`alert ${index}`));
  await until(() => mails.length === 1);
  assert.equal(mails[0]!.subject, "alert 200 (and 699 more)");
  assert.match(mails[0]!.body, /^200 more before these are left out/m);
});

test("At the end all that waits is sent at once, or is told as lost", async (t) => {
  const subjects: string[] = [];
  let answer: () => Promise<readonly string[]> = () => Promise.resolve([]);
  const patient = { ...quick, gatherMs: 60_000 };
  const { mailer, lines, ending, running } = start(t, (mail) => (subjects.push(mail.subject), answer()), patient);
  mailer.post(alert("last words"));
  ending.abort();
  await running;
  await mailer.drain(AbortSignal.timeout(60_000));
  assert.deepEqual(subjects, ["last words"]);
  answer = () => new Promise(() => {});
  mailer.post(alert("nobody hears"));
  const keepAlive = setTimeout(() => {}, 60_000);
  await mailer.drain(AbortSignal.timeout(20));
  clearTimeout(keepAlive);
  assert.deepEqual(lines, ["emailalert: not sent to ops@alerts.example: nobody hears"]);
});
