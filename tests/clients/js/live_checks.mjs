// Holds what connections heard to docs/protocol.md: shapes, order, sequences, books, one encoding beside the other.

import assert from "node:assert/strict";

import { Book, Orders, canonical, decimalInteger, decodeFrame } from "./decode.mjs";
import { BINARY_PROTOCOL, DATA, JSON_PROTOCOL, expect } from "./live_session.mjs";

export const CHANNELS = ["quotes", "trades", "book", "orders", "ticker", "bars", "status"];
const INTERVALS_MS = [0, 10, 50, 100, 250, 500, 1000, 5000];
const PERIODS_MS = { "1s": 1_000, "1m": 60_000, "5m": 300_000, "1h": 3_600_000 };
const HEAD = ["type", "symbol", "first_seq", "last_seq", "timestamp", "ts_ns", "sent_ns"];
const HEAD_MAY = ["merged", "more", "snapshot"];
const BODY = {
  quote: ["bid", "bid_quantity", "ask", "ask_quantity"],
  trade: ["price", "quantity", "aggressor", "trade_id"],
  orderbook: ["snapshot", "bids", "asks"],
  order: ["action", "order_id", "side", "price", "quantity"],
  orders: ["orders"],
  price: ["bid", "ask", "last", "volume"],
  bar: ["period", "start", "open", "high", "low", "close", "volume", "complete"],
  status: ["status"],
};
const BODY_MAY = { orderbook: ["checksum", "part", "parts"], orders: ["part", "parts"], order: ["executed"] };
// Updates of a book without a checksum that may follow one another.
const UNCHECKED_MAX = 99;
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
  gap: ["type", "symbol", "channel", "epoch", "from", "to", "count"],
  reset: ["type", "symbol", "epoch", "reason"],
};
const TEXT_MAY = { unsubscribed: ["more"], error: ["id"] };

function keys(message, must, may = []) {
  const has = Object.keys(message);
  const good = must.every((key) => has.includes(key)) && has.every((key) => must.includes(key) || may.includes(key));
  expect(good, "keys of", message, "instead of", must, may);
}

/** One stream from its `subscribed` to its end. */
class Stream {
  snapshots = 0;
  part = 0;
  messages = [];
  // Where in the connection's log each of them stands.
  positions = [];
  completeTo = 0;
  gaps = [];
  isStale = false;
  unchecked = 0;
  ledger = { delivered: 0, merged: 0, lost: 0 };
  // The ledger as it was when the stream stood at a sequence.
  ledgers = new Map();
  bar = null;

  constructor(entry, request, earlier) {
    this.entry = entry;
    this.key = `${entry.symbol} ${entry.channel}`;
    this.channel = entry.channel;
    this.epoch = Number(entry.epoch);
    this.depth = entry.depth === null ? undefined : Number(entry.depth);
    this.intervalMs = Number(entry.interval_ms);
    this.period = entry.period;
    const known = (request.from ?? []).find((from) => `${from.symbol} ${from.channel}` === this.key);
    const isExact = this.channel === "bars" || (!this.depth && !this.intervalMs);
    const goesOn = known?.epoch === this.epoch;
    this.resumed = isExact && goesOn && known.seq === Number(entry.seq);
    // Who comes back is given what he lacks, whatever he says of snapshots.
    this.withSnapshot = (request.snapshot ?? entry.channel !== "trades") || known !== undefined;
    this.atLeast = goesOn ? known.seq : 0;
    // Without a state there is no snapshot: of trades before the first one, of bars while none runs.
    const begins = this.resumed || !this.withSnapshot || ["trades", "bars"].includes(this.channel);
    this.begin = begins ? Number(entry.seq) : null;
    this.last = this.begin;
    if (begins) this.ledgers.set(this.last, { ...this.ledger });
    this.numbers = {
      price_exponent: Number(entry.price_exponent),
      quantity_exponent: Number(entry.quantity_exponent),
    };
    const makers = { book: Book, orders: Orders };
    this.book = this.channel in makers ? new makers[this.channel](this.numbers) : null;
    if (this.resumed && earlier) {
      expect(earlier.epoch === this.epoch && earlier.last === this.last, "resumed elsewhere:", entry, earlier.last);
      this.book = earlier.book;
      this.bar = earlier.bar;
      this.unchecked = earlier.unchecked;
    } else if (this.book) {
      this.book.lastSeq = this.last;
    }
  }

  get leavesOut() {
    return Boolean(this.depth || this.intervalMs || this.channel === "bars");
  }

  take(message, position, mayMerge) {
    const [first, last] = [Number(message.first_seq), Number(message.last_seq)];
    let isWhole = true;
    if (message.snapshot) {
      isWhole = this.#takeSnapshot(message, first, last, mayMerge);
    } else {
      expect(this.last !== null && !this.isStale && this.part === 0, "a change before the snapshot:", message);
      expect(first === this.last + 1 && first <= last, `sequences after ${this.last}:`, message);
      const carried = this.channel === "book" ? message.bids.length + message.asks.length : 1;
      const delivered = Math.min(carried, last - this.last);
      this.#count(last, { delivered, merged: last - this.last - delivered });
    }
    expect(!this.book || this.book.apply(message), "gap or wrong checksum:", message);
    if (this.channel === "book" && isWhole) {
      this.unchecked = message.checksum === undefined ? this.unchecked + 1 : 0;
      expect(this.unchecked <= UNCHECKED_MAX, `${this.unchecked} updates without a checksum:`, message);
      expect(!message.snapshot || message.checksum !== undefined, "no checksum:", message);
    }
    if (this.channel === "bars") this.#takeBar(message);
    this.messages.push(message);
    this.positions.push(position);
  }

  /** Whether it is whole. */
  #takeSnapshot(message, first, last, mayMerge) {
    const [part, parts] = [Number(message.part ?? 1), Number(message.parts ?? 1)];
    expect(this.withSnapshot || mayMerge, "nobody asked for a snapshot:", message);
    // A full book with an interval may be told whole where that is shorter.
    const mayFollow = mayMerge || this.isStale || (this.intervalMs > 0 && this.channel === "book");
    expect(this.snapshots === 0 || mayFollow, "a second snapshot:", message);
    expect(first === last, "a snapshot covers nothing:", message);
    expect(last >= Math.max(this.atLeast, this.last ?? 0), "a snapshot from before what was held:", message);
    expect(part === this.part + 1 && part <= parts, `part after ${this.part}:`, message);
    this.part = part % parts;
    if (part < parts) return false;
    const begins = this.last === null || (this.snapshots === 0 && !this.resumed && this.messages.length === 0);
    if (begins) this.begin = last;
    this.#count(last, { merged: begins ? 0 : last - this.last });
    this.snapshots++;
    this.isStale = false;
    return true;
  }

  takeGap(message) {
    const [first, last] = [Number(message.from), Number(message.to)];
    expect(Number(message.epoch) === this.epoch && first === this.last + 1 && first <= last, "gap:", message);
    expect(Number(message.count) === last - first + 1, "count of", message);
    this.#count(last, { lost: last - this.last });
    this.gaps.push([first, last]);
    this.isStale = this.channel === "book" || this.channel === "orders";
    this.bar = null;
  }

  #count(last, counts) {
    for (const [name, count] of Object.entries(counts)) this.ledger[name] += count;
    this.last = last;
    this.ledgers.set(last, { ...this.ledger });
  }

  /** Each is the whole bar of the period: one runs at a time, is told once more when it is complete, and never changes then. */
  #takeBar(message) {
    const now = barIntegers(message, this.numbers);
    expect(message.period === this.period && now.start % PERIODS_MS[this.period] === 0, this.period, message);
    const inRange = [now.open, now.close].every((price) => now.low <= price && price <= now.high);
    expect(inRange && now.volume > 0n, "a bar that cannot be:", message);
    if (this.bar?.complete && this.bar.start === now.start) {
      // Others join the view, or bars of other periods have ended: it is told once more, as it is.
      assert.deepEqual(now, this.bar, `a complete bar changes: ${JSON.stringify(message)}`);
    } else if (this.bar?.start === now.start) {
      const grows = now.volume >= this.bar.volume && now.low <= this.bar.low && now.high >= this.bar.high;
      expect(now.open === this.bar.open && grows, "a bar that was otherwise:", message);
    } else if (this.bar) {
      // A snapshot may pass over the end of the bar before.
      const isNext = now.start > this.bar.start && (this.bar.complete || message.snapshot);
      expect(isNext, "a bar that begins before the end of another:", message);
    }
    this.bar = now;
  }
}

function barIntegers(message, numbers) {
  const bar = { start: Number(message.start), complete: message.complete };
  for (const key of ["open", "high", "low", "close"]) bar[key] = decimalInteger(message[key], numbers.price_exponent);
  return { ...bar, volume: decimalInteger(message.volume, numbers.quantity_exponent) };
}

/**
 * What one connection heard, checked message by message. `streams` and `finished` hold the streams. `earlier` is what the
 * same client heard on the connection before: streams that are resumed go on from there.
 */
export class Transcript {
  streams = new Map();
  finished = [];
  numbers = {};
  counts = {};
  notices = [];

  resets = [];
  isConflating = false;
  wasConflated = false;
  #position = 0;

  constructor(connection, earlier) {
    this.peer = connection.peer;
    this.earlier = earlier;
    this.isBinary = connection.protocol === BINARY_PROTOCOL;
    this.requests = connection.requests;
    connection.log.forEach((entry, position) => {
      this.#position = position;
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
    expect(message.type !== "orders" || message.snapshot, "orders that are no snapshot:", message);
    stream.take(message, this.#position, this.wasConflated);
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
      const period = entry.channel === "bars" ? ["period"] : [];
      keys(entry, [...INSTRUMENT, "channel", "depth", "interval_ms", ...period, "epoch", "seq"]);
      const hasInterval = ["quotes", "book", "ticker"].includes(entry.channel);
      const intervalMs = hasInterval ? INTERVALS_MS.find((step) => step >= (request.interval_ms ?? 0)) : 0;
      expect(Number(entry.interval_ms) === intervalMs && request.channels.includes(entry.channel), entry);
      expect(entry.channel !== "bars" || entry.period === (request.period ?? "1m"), entry);
      const stream = new Stream(entry, request, this.earlier?.of(entry.symbol, entry.channel));
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
      const { last, isStale } = stream;
      expect(last !== null && !isStale, "a heartbeat names a stream before its snapshot:", entry);
      const seq = Number(entry.seq);
      expect(stream.leavesOut ? last <= seq : last === seq, `complete up to ${seq}, but heard up to ${last}:`, entry);
      stream.completeTo = seq;
    }
  }

  _instruments(message) {
    for (const entry of message.instruments) keys(entry, [...INSTRUMENT, "channels", "status"]);
  }

  _notice(message) {
    this.notices.push(message.code);
    if (message.code === "conflating" || message.code === "recovered") {
      expect(this.isConflating === (message.code === "recovered"), "in the wrong order:", message);
      this.isConflating = message.code === "conflating";
      this.wasConflated = true;
    }
  }

  _gap(message) {
    const stream = this.of(message.symbol, message.channel);
    expect(stream, "a gap of a stream that is not subscribed:", message);
    stream.takeGap(message);
  }

  /** Only who names an epoch that is none gets it here: his `subscribed` has named the present one. */
  _reset(message) {
    expect(message.reason === "restart", message);
    this.resets.push(message);
    for (const stream of this.streams.values()) {
      const isNamed = Number(message.epoch) === stream.epoch && stream.messages.length === 0;
      expect(stream.entry.symbol !== message.symbol || isNamed, "a reset in the middle of", stream.entry);
    }
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

export const sides = (book, depth) => [
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

/** What the server counted (`/api/v1/connections`) is what this client did. How many streams were compared. */
export function ledgers(transcript, connections) {
  let compared = 0;
  for (const connection of connections.filter(({ peer }) => peer === transcript.peer)) {
    for (const theirs of connection.streams) {
      const ours = transcript.of(theirs.symbol, theirs.channel);
      const counted = ours?.epoch === Number(theirs.epoch) && ours.ledgers.get(Number(theirs.seq));
      // What waits for its snapshot has no ledger yet.
      if (!counted) continue;
      for (const [name, count] of Object.entries(counted)) {
        expect(Number(theirs[name]) === count, `the ledgers differ in ${name}, ${count} here:`, theirs);
      }
      compared++;
    }
  }
  return compared;
}

/** Two connections hold the same queues in the same order at the last sequence that both reached. How many orders. */
export function queues(...streams) {
  const end = Math.min(...streams.map((stream) => stream.last));
  const [one, other] = streams.map((stream) => {
    const orders = new Orders(stream.numbers);
    for (const message of stream.messages) if (Number(message.last_seq) <= end) orders.apply(message);
    expect(orders.lastSeq === end, `${stream.key} ends at ${orders.lastSeq} instead of ${end}`);
    return ["bid", "ask"].map((side) => orders.side(side));
  });
  assert.deepEqual(one, other, `queues of ${streams[0].key} at ${end}`);
  return one[0].length + one[1].length;
}

/** The bars of a stream are those of the trades that the connection heard. How many, and how many were complete. */
export function bars(stream, trades) {
  const periodNs = BigInt(PERIODS_MS[stream.period]) * 1_000_000n;
  const numbers = stream.numbers;
  let [running, last, closedMs, begin, complete] = [null, null, 0, -1, 0];
  const messages = stream.messages.map((message, i) => [message, stream.positions[i]]);
  if (messages[0]?.[0].snapshot) {
    const [snapshot, position] = messages.shift();
    running = barIntegers(snapshot, numbers);
    begin = position;
    if (running.complete) {
      // None was running: the state is the last one that is complete.
      [running, last, closedMs] = [null, running, running.start + PERIODS_MS[stream.period]];
    }
  }
  const left = trades.messages.filter((trade, i) => trades.positions[i] > begin && !trade.snapshot);
  for (const [message] of messages) {
    const told = barIntegers(message, numbers);
    if (message.complete && running === null) {
      assert.deepEqual(told, last, `another bar is told again: ${JSON.stringify(message)}`);
      continue;
    }
    if (message.complete) {
      complete++;
      closedMs = running.start + PERIODS_MS[stream.period];
      running.complete = true;
    } else {
      let trade;
      // One for all the trades of an exchange event; none where others join the view: it is told once more, as it is.
      while (running === null || running.volume < told.volume) {
        expect(left.length > 0, "a bar without a trade:", message);
        trade = left.shift();
        const price = decimalInteger(trade.price, numbers.price_exponent);
        const tradeMs = Number(((BigInt(trade.ts_ns) / periodNs) * periodNs) / 1_000_000n);
        const start = Math.max(tradeMs, closedMs);
        running ??= { start, complete: false, open: price, high: price, low: price, close: price, volume: 0n };
        expect(start <= running.start, "a trade of a later bar:", trade, message);
        if (price > running.high) running.high = price;
        if (price < running.low) running.low = price;
        running.close = price;
        running.volume += decimalInteger(trade.quantity, numbers.quantity_exponent);
      }
      expect(!trade || message.ts_ns === trade.ts_ns, "time of the bar:", message, trade);
    }
    assert.deepEqual(told, running, `the trades make another bar than ${JSON.stringify(message)}`);
    if (message.complete) [running, last] = [null, running];
  }
  return { bars: messages.length, complete };
}
