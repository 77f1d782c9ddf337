// Holds what connections heard to docs/protocol.md: shapes, order, sequences, books, one encoding beside the other.

import assert from "node:assert/strict";

import { Book, canonical, decodeFrame } from "./decode.mjs";
import { BINARY_PROTOCOL, DATA, JSON_PROTOCOL, expect } from "./live_session.mjs";

export const CHANNELS = ["quotes", "trades", "book", "ticker", "status"];
const HEAD = ["type", "symbol", "first_seq", "last_seq", "timestamp", "ts_ns", "sent_ns"];
const HEAD_MAY = ["merged", "more", "snapshot"];
const BODY = {
  quote: ["bid", "bid_quantity", "ask", "ask_quantity"],
  trade: ["price", "quantity", "aggressor", "trade_id"],
  orderbook: ["snapshot", "bids", "asks"],
  price: ["bid", "ask", "last", "volume"],
  status: ["status"],
};
const BODY_MAY = { orderbook: ["checksum", "part", "parts"] };
const INSTRUMENT = ["symbol", "instrument", "price_exponent", "quantity_exponent", "tick_size", "lot_size"];
const TEXT = {
  welcome: ["type", "protocol", "server", "epoch", "heartbeat_ms", "limits"],
  subscribed: ["type", "id", "streams", "more"],
  unsubscribed: ["type", "id", "streams"],
  instruments: ["type", "id", "epoch", "instruments", "more"],
  heartbeat: ["type", "ts_ns", "streams"],
  pong: ["type", "id", "ts_ns"],
  error: ["type", "code", "message", "retry"],
  notice: ["type", "code", "message"],
};
const TEXT_MAY = { unsubscribed: ["more"], error: ["id"] };

function keys(message, must, may = []) {
  const has = Object.keys(message);
  const good = must.every((key) => has.includes(key)) && has.every((key) => must.includes(key) || may.includes(key));
  expect(good, "keys of", message, "instead of", must, may);
}

/** One stream from its `subscribed` to its end. */
class Stream {
  constructor(entry, withSnapshot) {
    this.entry = entry;
    this.key = `${entry.symbol} ${entry.channel}`;
    this.channel = entry.channel;
    this.epoch = Number(entry.epoch);
    this.depth = entry.depth === null ? undefined : Number(entry.depth);
    this.withSnapshot = withSnapshot;
    this.last = withSnapshot ? null : Number(entry.seq);
    this.snapshots = 0;
    this.part = 0;
    this.messages = [];
    this.completeTo = 0;
    this.numbers = {
      price_exponent: Number(entry.price_exponent),
      quantity_exponent: Number(entry.quantity_exponent),
    };
    this.book = this.channel === "book" ? new Book(this.numbers) : null;
    if (this.book) this.book.lastSeq = this.last;
  }

  take(message) {
    const [first, last] = [Number(message.first_seq), Number(message.last_seq)];
    if (message.snapshot) {
      const [part, parts] = [Number(message.part ?? 1), Number(message.parts ?? 1)];
      expect(this.withSnapshot && this.snapshots === 0 && first === last, "a snapshot out of place:", message);
      expect(part === this.part + 1 && part <= parts, `part after ${this.part}:`, message);
      this.part = part % parts;
      if (part === parts) {
        this.snapshots = 1;
        this.last = last;
        expect(this.channel !== "book" || message.checksum !== undefined, "no checksum:", message);
      }
    } else {
      if (this.last === null && this.channel === "trades") this.last = Number(this.entry.seq);
      expect(this.last !== null, "a change before the snapshot:", message);
      expect(first === this.last + 1 && first <= last, `sequences after ${this.last}:`, message);
      this.last = last;
    }
    expect(!this.book || this.book.apply(message), "gap or wrong checksum in the book:", message);
    this.messages.push(message);
  }
}

/** What one connection heard, checked message by message. `streams` and `finished` hold the streams. */
export class Transcript {
  streams = new Map();
  finished = [];
  numbers = {};
  counts = {};
  notices = [];

  constructor(connection) {
    this.isBinary = connection.protocol === BINARY_PROTOCOL;
    this.requests = connection.requests;
    connection.log.forEach((entry, position) => {
      try {
        if (Buffer.isBuffer(entry)) this.#frame(entry);
        else this.#text(entry, position);
      } catch (error) {
        error.message = `${connection.name}: message ${position}: ${error.message}`;
        throw error;
      }
    });
  }

  of(symbol, channel) {
    return this.streams.get(`${symbol} ${channel}`);
  }

  #count(name) {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }

  #frame(payload) {
    expect(this.isBinary, "a binary message");
    const frame = decodeFrame(payload, this.numbers);
    expect(frame.messages.length > 0, "a frame without messages");
    for (const message of frame.messages) {
      expect(DATA[message.type] === frame.channel, `channel ${frame.channel}:`, message);
      this.#data(canonical(message), frame.epoch);
    }
  }

  #text(message, position) {
    expect((position === 0) === (message.type === "welcome"), "welcome is first and only first:", message);
    if (message.type in DATA) {
      expect(!this.isBinary, "market data as text:", message);
      return this.#data(message, null);
    }
    expect(message.type in TEXT, "an undocumented type:", message);
    keys(message, TEXT[message.type], TEXT_MAY[message.type]);
    this.#count(message.type);
    this[`_${message.type}`]?.(message);
  }

  #data(message, epoch) {
    keys(message, [...HEAD, ...BODY[message.type]], [...HEAD_MAY, ...(BODY_MAY[message.type] ?? [])]);
    expect(BigInt(message.ts_ns) / 1_000_000n === BigInt(message.timestamp), "timestamp of", message);
    const stream = this.of(message.symbol, DATA[message.type]);
    expect(stream, "data of a stream that is not subscribed:", message);
    expect(epoch === null || epoch === stream.epoch, `epoch ${epoch} instead of ${stream.epoch}:`, message);
    stream.take(message);
    this.#count(stream.channel);
  }

  _welcome(message) {
    keys(message.limits, ["message_bytes", "request_symbols", "streams", "outbox_bytes"]);
    expect(message.protocol === (this.isBinary ? BINARY_PROTOCOL : JSON_PROTOCOL), message);
    expect(message.server.startsWith("tickcast/") && message.heartbeat_ms === "5000", message);
  }

  _subscribed(message) {
    const request = this.requests[message.id];
    for (const entry of message.streams) {
      keys(entry, [...INSTRUMENT, "channel", "depth", "interval_ms", "epoch", "seq"]);
      expect(entry.interval_ms === "0" && request.channels.includes(entry.channel), entry);
      const stream = new Stream(entry, request.snapshot ?? entry.channel !== "trades");
      if (this.streams.has(stream.key)) this.finished.push(this.streams.get(stream.key));
      this.streams.set(stream.key, stream);
      this.numbers[entry.instrument] = { ...stream.numbers, symbol: entry.symbol };
    }
  }

  _unsubscribed(message) {
    for (const entry of message.streams) {
      keys(entry, ["symbol", "channel"]);
      const stream = this.of(entry.symbol, entry.channel);
      expect(stream, "unsubscribed what was not subscribed:", entry);
      this.streams.delete(stream.key);
      this.finished.push(stream);
    }
  }

  _heartbeat(message) {
    expect(message.streams.length <= 64, `${message.streams.length} streams in a heartbeat`);
    for (const entry of message.streams) {
      keys(entry, ["symbol", "channel", "epoch", "seq"]);
      const stream = this.of(entry.symbol, entry.channel);
      expect(stream && Number(entry.epoch) === stream.epoch, "a heartbeat names another stream:", entry);
      const last = stream.last ?? (stream.channel === "trades" ? Number(stream.entry.seq) : NaN);
      const seq = Number(entry.seq);
      expect(stream.depth ? last <= seq : last === seq, `complete up to ${seq}, but heard up to ${last}:`, entry);
      stream.completeTo = seq;
    }
  }

  _instruments(message) {
    for (const entry of message.instruments) keys(entry, [...INSTRUMENT, "channels", "status"]);
  }

  _notice(message) {
    this.notices.push(message.code);
  }
}

/** Two transcripts of the same streams say the same, message by message, as far as both go. How many by channel. */
export function twins(a, b) {
  const compared = {};
  for (const [key, stream] of a.streams) {
    if (!b.streams.has(key)) continue;
    compared[stream.channel] = (compared[stream.channel] ?? 0) + twinStreams(stream, b.streams.get(key));
  }
  return compared;
}

function twinStreams(...streams) {
  const changes = streams.map((stream) => stream.messages.filter((message) => !message.snapshot));
  if (changes.some((messages) => messages.length === 0)) return 0;
  const start = Math.max(...changes.map((messages) => Number(messages[0].first_seq)));
  const end = Math.min(...changes.map((messages) => Number(messages.at(-1).last_seq)));
  // The first message of a view covers what passed unseen before it, so it may begin elsewhere.
  const [one, other] = changes.map((messages) =>
    messages.filter((message) => start < Number(message.first_seq) && Number(message.last_seq) <= end),
  );
  assert.deepEqual(one, other, `the encodings differ: ${streams[0].key}`);
  const [ours, theirs] = streams.map((stream) => stream.messages.filter((message) => message.snapshot));
  if (ours[0]?.last_seq === theirs[0]?.last_seq) assert.deepEqual(ours, theirs, "the snapshots differ");
  return one.length;
}

const sides = (book, depth) => [
  [...book.bids].sort((a, b) => (a[0] > b[0] ? -1 : 1)).slice(0, depth),
  [...book.asks].sort((a, b) => (a[0] < b[0] ? -1 : 1)).slice(0, depth),
];

/** Every view shows the top of the full book after each of its changes, and HTTP the same at its sequence. */
export function books(full, streams, bodies) {
  const compared = {};
  const count = (name) => (compared[name] = (compared[name] ?? 0) + 1);
  const views = streams.map((stream) => ({
    stream,
    book: new Book(stream.numbers),
    next: 0,
    sides: null,
    end: Math.max(stream.completeTo, stream.last ?? 0),
  }));
  const book = new Book(full.numbers);
  for (const message of full.messages) {
    book.apply(message);
    const seq = Number(message.last_seq);
    if (book.lastSeq !== seq) continue; // A part of a snapshot.
    const now = sides(book);
    for (const view of views) {
      const messages = view.stream.messages;
      while (view.next < messages.length && Number(messages[view.next].last_seq) <= seq) {
        view.book.apply(messages[view.next++]);
        view.sides = sides(view.book);
      }
      if (view.sides === null || seq > view.end) continue;
      const top = now.map((side) => side.slice(0, view.stream.depth));
      assert.deepEqual(view.sides, top, `view of ${view.stream.depth} at ${seq} of ${full.key}`);
      count(`depth ${view.stream.depth}`);
    }
    for (const [depth, body] of bodies.get(seq) ?? []) {
      expect(Number(body.epoch) === full.epoch, "epoch over HTTP:", body);
      assert.deepEqual([body.bids, body.asks], book.levels(depth), `HTTP, depth ${depth}, at ${seq} of ${full.key}`);
      expect(Number(body.checksum) === book.checksum(depth ?? 10), `checksum over HTTP at ${seq}:`, body);
      count("http");
    }
  }
  return compared;
}
