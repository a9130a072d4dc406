/** Two ways for a mail: straight to a mail server, or by the local mail program. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { hostname, userInfo } from "node:os";
import addressparser from "nodemailer/lib/addressparser";
import MailComposer from "nodemailer/lib/mail-composer";
import SMTPConnection from "nodemailer/lib/smtp-connection";
import type { Mail } from "./alert.ts";

/** Where the local mail program of any mail system is. */
const sendmailPaths = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];
const smtpPort = 25;

export interface SendMailOptions {
  /** Of the mail server. */
  readonly port?: number;
  /** Path of the local mail program. */
  readonly sendmail?: string;
}

/**
 * Sends a mail with one RCPT for each address. Resolves to the addresses that the server refused, with its words;
 * rejects if nobody gets the mail, and when the signal aborts.
 */
export async function sendMail(mail: Mail, signal: AbortSignal, options: SendMailOptions = {}): Promise<string[]> {
  const { smtp, from, to } = mail.destination;
  // ldirectord's sender towards a mail server; the local program knows better.
  const ownAddress = `${userInfo().username}@${hostname()}`;
  const sender = addressparser(from, { flatten: true })[0]?.address ?? "";
  const message = await compose(mail, from === "" && smtp !== "" ? ownAddress : from);
  if (smtp === "") {
    await bySendmail(options.sendmail ?? findSendmail(), sender, to, message, signal);
    return [];
  }
  return await bySmtp(smtp, options.port ?? smtpPort, { from: sender || ownAddress, to: [...to] }, message, signal);
}

async function compose({ destination, subject, body }: Mail, from: string): Promise<Buffer> {
  const isAscii = /^[\n\x20-\x7e]*$/.test(body);
  const node = new MailComposer({
    ...(from === "" ? {} : { from }),
    to: [...destination.to],
    subject,
    ...(isAscii ? {} : { text: body }),
    // Nobody's holiday message should answer.
    headers: { "Auto-Submitted": "auto-generated" },
  }).compile();
  if (!isAscii) return await node.build();
  // The library would fold lines of more than 76 characters, and whoever filters mails by a log line would miss it.
  node.setHeader({ "Content-Type": "text/plain; charset=us-ascii", "Content-Transfer-Encoding": "7bit" });
  return Buffer.from(`${node.buildHeaders()}\r\n\r\n${body.replaceAll("\n", "\r\n")}`);
}

async function bySmtp(
  host: string,
  port: number,
  envelope: { readonly from: string; readonly to: string[] },
  message: Buffer,
  signal: AbortSignal,
): Promise<string[]> {
  const connection = new SMTPConnection({
    host,
    port,
    connectionTimeout: 20_000,
    greetingTimeout: 20_000,
    socketTimeout: 30_000,
    // STARTTLS where it is offered, whoever the certificate is of: better than the plain text that it replaces.
    tls: { rejectUnauthorized: false },
  });
  try {
    return await new Promise((resolve, reject) => {
      const giveUp = (): void => reject(new Error("the mail server is too slow"));
      if (signal.aborted) return giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      connection.once("error", reject);
      connection.once("end", () => reject(new Error("the mail server closed the connection")));
      connection.connect(() => {
        connection.send(envelope, message, (error, info) => {
          if (error) return reject(error);
          resolve(
            (info.rejectedErrors ?? []).map((each) => `${each.recipient ?? "an address"} refused: ${each.message}`),
          );
        });
      });
    });
  } finally {
    // Later errors of a connection that is given up mean nothing.
    connection.on("error", () => {});
    connection.quit();
    if (signal.aborted) connection.close();
  }
}

async function bySendmail(
  program: string,
  sender: string,
  to: readonly string[],
  message: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const args = ["-i", ...(sender === "" ? [] : ["-f", sender]), "--", ...to];
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "ignore", "pipe"], signal, killSignal: "SIGKILL" });
    let said = "";
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text: string) => (said = (said + text).slice(-1000)));
    child.once("error", (cause) => reject(signal.aborted ? new Error(`${program} is too slow`) : cause));
    child.once("close", (code, killedBy) => {
      if (code === 0) return resolve();
      const words = said.trim().replaceAll(/\s+/g, " ");
      const end = code === null ? `killed by ${killedBy}` : `exit status ${code}`;
      reject(new Error(`${program}: ${end}${words === "" ? "" : `: ${words}`}`));
    });
    // The program may end without having read all; its exit status tells why.
    child.stdin.on("error", () => {});
    // A program of the local machine, not of the network.
    child.stdin.end(message.toString("latin1").replaceAll("\r\n", "\n"), "latin1");
  });
}

function findSendmail(): string {
  for (const path of sendmailPaths) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one, then.
    }
  }
  throw new Error(`there is no mail program (${sendmailPaths.join(", ")}); set smtp to a mail server`);
}
