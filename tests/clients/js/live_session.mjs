// Connections to a running server that keep all they hear, and plain HTTP. `live.mjs` drives them.

import WebSocket from "ws";

import { parseExact } from "./decode.mjs";

export const JSON_PROTOCOL = "tickcast.v1.json";
export const BINARY_PROTOCOL = "tickcast.v1.bin";
export const DATA = {
  quote: "quotes",
  trade: "trades",
  orderbook: "book",
  order: "orders",
  orders: "orders",
  price: "ticker",
  bar: "bars",
  status: "status",
};

// Longer than anything may take, on a machine that is busy with something else.
const PATIENCE_MS = 60_000;

/** The server did what docs/protocol.md does not allow. */
export class Violation extends Error {}

export function expect(condition, ...what) {
  if (condition) return;
  const text = what.map((part) => (typeof part === "string" ? part : JSON.stringify(part)).slice(0, 2000));
  throw new Violation(text.join(" "));
}

/** One connection. `log` holds in order what came: text as objects read exactly, binary messages as buffers. */
export class Connection {
  log = [];
  requests = {};
  replies = {};
  messages = 0;
  trades = 0;
  heartbeats = 0;
  notices = new Set();
  // Messages, text and binary.
  received = 0;
  close = null;
  #waiting = [];

  static async open(address, protocol) {
    const connection = new Connection(address, protocol);
    await connection.until(() => connection.log.length > 0, "welcome");
    const granted = connection.socket.protocol || undefined;
    expect(granted === protocol, `subprotocol ${granted} instead of ${protocol}`);
    return connection;
  }

  constructor(address, protocol) {
    this.address = address;
    this.protocol = protocol;
    this.name = protocol ?? "no subprotocol";
    this.socket = new WebSocket(`ws://${address}/ws`, protocol ? [protocol] : [], { perMessageDeflate: false });
    this.socket.on("upgrade", (response) => {
      this.peer = `${response.socket.localAddress}:${response.socket.localPort}`;
    });
    this.socket.on("message", (data, isBinary) => {
      this.received++;
      const entry = isBinary ? data : parseExact(data.toString());
      if (!isBinary) this.#note(entry);
      else this.messages++;
      this.log.push(entry);
      this.#look();
    });
    this.socket.on("error", (error) => this.log.push({ type: "failed", message: error.message }));
    this.socket.on("close", (code, reason) => {
      this.close = [code, reason.toString()];
      this.#look();
    });
  }

  #note(message) {
    if (message.type === "heartbeat") this.heartbeats++;
    if (message.type in DATA) this.messages++;
    if (message.type === "trade") this.trades++;
    if (message.type === "notice") this.notices.add(message.code);
    if (message.id !== undefined && !message.more) this.replies[message.id] = message;
  }

  #look() {
    this.#waiting = this.#waiting.filter((wait) => !wait());
  }

  /** Waits until the condition holds; it is looked at whenever something has come. */
  until(condition, what) {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new Violation(`${this.name}: ${why} while waiting for ${what}`));
      const timer = setTimeout(() => fail(`nothing within ${PATIENCE_MS} ms`), PATIENCE_MS);
      const wait = () => {
        const holds = condition();
        if (!holds && this.close === null) return false;
        clearTimeout(timer);
        if (holds) resolve();
        else fail(`was closed with ${this.close}`);
        return true;
      };
      if (!wait()) this.#waiting.push(wait);
    });
  }

  /** Sends a request and waits for the last page of what answers it. */
  async request(id, request) {
    this.requests[id] = request;
    this.socket.send(JSON.stringify({ id, ...request }));
    await this.until(() => id in this.replies, `reply to ${JSON.stringify(request)}`);
    return this.replies[id];
  }

  progress(received) {
    this.socket.send(JSON.stringify({ op: "progress", received }));
  }

  /** From now on reports its progress, as the document advises. */
  report() {
    const timer = setInterval(() => (this.close ? clearInterval(timer) : this.progress(this.received)), 100);
  }

  untilNoticed(code) {
    return this.until(() => this.notices.has(code), `notice: ${code}`);
  }

  /** The connection breaks: nothing is said any more. */
  abort() {
    this.socket.terminate();
    return this.untilClosed();
  }

  untilClosed() {
    return this.until(() => this.close !== null, "the close");
  }

  leave() {
    this.socket.close();
    return this.untilClosed();
  }
}

export async function http(address, path) {
  // One connection each: a kept one may be closed by the server while this program computes.
  const answer = await fetch(`http://${address}${path}`, { headers: { connection: "close" } });
  return parseExact(await answer.text());
}
