// Decodes Tickcast's binary frames. Written from docs/protocol.md alone; no packages.
//
// `decodeFrame(payload, streams)` gives the shape of the JSON messages, with every price and quantity as an exact
// decimal string. `parseExact(text)` and `canonical(value)` bring JSON text and decoded messages into one form, so
// that the two encodings can be compared. `Book` keeps one book right, `Orders` the orders of one instrument.

const VERSION = 1;
const FRAME_BYTES = 16;
const MESSAGE_BYTES = 40;
const ORDERBOOK_BYTES = 16;
const LEVEL_BYTES = 16;
const ORDERS_BYTES = 16;
const RESTING_ORDER_BYTES = 24;
const SNAPSHOT = 1;
const LAST = 2;
const CHECKSUM = 4;
const ABSENT = -(2n ** 63n);
const CHANNELS = { 1: "quotes", 2: "trades", 3: "book", 4: "orders", 5: "ticker", 6: "bars", 7: "status" };
const AGGRESSORS = { 0: "none", 1: "buy", 2: "sell" };
const SIDES = { 1: "bid", 2: "ask" };
const ACTIONS = { 1: "add", 2: "modify", 3: "cancel", 4: "execute", 5: "clear" };
const PERIODS = { 0: "1s", 1: "1m", 2: "5m", 3: "1h" };
const STATUSES = { 1: "trading", 2: "halted", 3: "auction", 4: "closed" };

/** The bytes are no frame of market data. */
export class DecodeError extends Error {}

/** The integer times ten to the exponent: exact, without exponent and trailing zeros. Null for what is absent. */
export function decimalText(value, exponent) {
  if (value === ABSENT) return null;
  const sign = value < 0n ? "-" : "";
  let digits = (value < 0n ? -value : value).toString();
  if (exponent >= 0) return sign + digits + (value === 0n ? "" : "0".repeat(exponent));
  digits = digits.padStart(1 - exponent, "0");
  const fraction = digits.slice(exponent).replace(/0+$/, "");
  return sign + digits.slice(0, exponent) + (fraction && `.${fraction}`);
}

/** The integer (BigInt) of an exact decimal at an exponent: the way back. */
export function decimalInteger(text, exponent) {
  if (text === null) return ABSENT;
  const [whole, fraction = ""] = text.split(".");
  if (exponent >= 0) return BigInt(whole) / 10n ** BigInt(exponent);
  return BigInt(whole + fraction.padEnd(-exponent, "0"));
}

/**
 * Decodes one binary frame (ArrayBuffer or a view of one).
 *
 * `streams` has for each instrument's number the object of `subscribed` (`symbol`, `price_exponent`,
 * `quantity_exponent`). Messages of an unknown kind (order action, bar period) are left out.
 */
export function decodeFrame(payload, streams) {
  const view = ArrayBuffer.isView(payload)
    ? new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    : new DataView(payload);
  if (view.byteLength < FRAME_BYTES) {
    throw new DecodeError(`frame of ${view.byteLength} bytes; at least ${FRAME_BYTES} are needed`);
  }
  const version = view.getUint8(0);
  if (version !== VERSION) {
    throw new DecodeError(`frame version ${version}; this decoder reads version ${VERSION}`);
  }
  const count = view.getUint16(2, true);
  const instrument = view.getUint32(4, true);
  const stream = streams[instrument];
  if (!stream) throw new DecodeError(`instrument ${instrument} was not subscribed`);
  const messages = [];
  let offset = FRAME_BYTES;
  for (let i = 0; i < count; i++) {
    const rest = view.byteLength - offset;
    if (rest < MESSAGE_BYTES) throw new DecodeError(`message at ${offset} is cut short`);
    const length = view.getUint32(offset, true);
    if (length % 8 !== 0 || length < MESSAGE_BYTES || length > rest) {
      throw new DecodeError(`message at ${offset} has length ${length}, ${rest} bytes are there`);
    }
    const message = decodeMessage(new DataView(view.buffer, view.byteOffset + offset, length), stream);
    if (message) messages.push(message);
    offset += length;
  }
  if (offset !== view.byteLength) {
    throw new DecodeError(`${view.byteLength - offset} bytes after the last message`);
  }
  return {
    channel: CHANNELS[view.getUint8(1)] ?? null,
    instrument,
    epoch: Number(view.getBigUint64(8, true)),
    messages,
  };
}

/** Decodes one message, header included. Null for a kind, action or period that is not known. */
function decodeMessage(view, stream) {
  const decodeBody = BODIES[view.getUint8(4)];
  if (!decodeBody) return null;
  const flags = view.getUint8(5);
  const firstSeq = view.getBigUint64(8, true);
  const lastSeq = view.getBigUint64(16, true);
  const tsNs = view.getBigUint64(24, true);
  const body = new DataView(view.buffer, view.byteOffset + MESSAGE_BYTES, view.byteLength - MESSAGE_BYTES);
  let content;
  let carried;
  try {
    [content, carried] = decodeBody(body, flags, stream);
  } catch (error) {
    if (error instanceof RangeError) throw new DecodeError(`message of kind ${view.getUint8(4)} is too short`);
    throw error;
  }
  if (content === null) return null;
  const message = {
    symbol: stream.symbol,
    first_seq: Number(firstSeq),
    last_seq: Number(lastSeq),
    timestamp: Number(tsNs / 1_000_000n),
    ts_ns: tsNs.toString(),
    sent_ns: view.getBigUint64(32, true).toString(),
  };
  const snapshot = (flags & SNAPSHOT) !== 0;
  const merged = snapshot ? 0 : Number(lastSeq - firstSeq) + 1 - carried;
  if (merged > 0) message.merged = merged;
  if (!(flags & LAST)) message.more = true;
  if (snapshot) message.snapshot = true;
  return { ...message, ...content };
}

const priceAt = (view, offset, stream) => decimalText(view.getBigInt64(offset, true), stream.price_exponent);
const quantityAt = (view, offset, stream) => decimalText(view.getBigInt64(offset, true), stream.quantity_exponent);

function quote(view, _flags, stream) {
  return [
    {
      type: "quote",
      bid: priceAt(view, 0, stream),
      bid_quantity: quantityAt(view, 8, stream),
      ask: priceAt(view, 16, stream),
      ask_quantity: quantityAt(view, 24, stream),
    },
    1,
  ];
}

function trade(view, _flags, stream) {
  const tradeId = view.getBigUint64(16, true);
  return [
    {
      type: "trade",
      price: priceAt(view, 0, stream),
      quantity: quantityAt(view, 8, stream),
      aggressor: AGGRESSORS[view.getUint8(24)] ?? "none",
      trade_id: tradeId === 0n ? null : tradeId.toString(),
    },
    1,
  ];
}

function orderbook(view, flags, stream) {
  const bids = view.getUint32(0, true);
  const asks = view.getUint32(4, true);
  if (view.byteLength < ORDERBOOK_BYTES + (bids + asks) * LEVEL_BYTES) {
    throw new DecodeError(`${bids} bids and ${asks} asks do not fit in ${view.byteLength} bytes`);
  }
  const levels = Array.from({ length: bids + asks }, (_, i) => {
    const offset = ORDERBOOK_BYTES + i * LEVEL_BYTES;
    return [priceAt(view, offset, stream), quantityAt(view, offset + 8, stream)];
  });
  const book = {
    type: "orderbook",
    snapshot: (flags & SNAPSHOT) !== 0,
    bids: levels.slice(0, bids),
    asks: levels.slice(bids),
  };
  if (flags & CHECKSUM) book.checksum = view.getUint32(8, true);
  const parts = view.getUint16(14, true);
  if (parts > 1) {
    book.part = view.getUint16(12, true);
    book.parts = parts;
  }
  return [book, bids + asks];
}

function order(view, _flags, stream) {
  const action = ACTIONS[view.getUint8(32)];
  const executed = view.getBigInt64(24, true);
  if (!action) return [null, 0];
  const change = {
    type: "order",
    action,
    order_id: action === "clear" ? null : view.getBigUint64(0, true).toString(),
    side: SIDES[view.getUint8(33)] ?? null,
    price: priceAt(view, 8, stream),
    quantity: quantityAt(view, 16, stream),
  };
  if (executed > 0n) change.executed = quantityAt(view, 24, stream);
  return [change, 1];
}

function orders(view, _flags, stream) {
  const bids = view.getUint32(0, true);
  const asks = view.getUint32(4, true);
  if (view.byteLength < ORDERS_BYTES + (bids + asks) * RESTING_ORDER_BYTES) {
    throw new DecodeError(`${bids} bids and ${asks} asks do not fit in ${view.byteLength} bytes`);
  }
  const snapshot = {
    type: "orders",
    orders: Array.from({ length: bids + asks }, (_, i) => {
      const offset = ORDERS_BYTES + i * RESTING_ORDER_BYTES;
      const orderId = view.getBigUint64(offset, true).toString();
      const side = i < bids ? "bid" : "ask";
      return [orderId, side, priceAt(view, offset + 8, stream), quantityAt(view, offset + 16, stream)];
    }),
  };
  const parts = view.getUint16(10, true);
  if (parts > 1) {
    snapshot.part = view.getUint16(8, true);
    snapshot.parts = parts;
  }
  return [snapshot, 1];
}

function bar(view, _flags, stream) {
  const period = PERIODS[view.getUint8(48)];
  const complete = view.getUint8(49) !== 0;
  if (!period) return [null, 0];
  return [
    {
      type: "bar",
      period,
      start: Number(view.getBigUint64(0, true) / 1_000_000n),
      open: priceAt(view, 8, stream),
      high: priceAt(view, 16, stream),
      low: priceAt(view, 24, stream),
      close: priceAt(view, 32, stream),
      volume: quantityAt(view, 40, stream),
      complete,
    },
    1,
  ];
}

function price(view, _flags, stream) {
  return [
    {
      type: "price",
      bid: priceAt(view, 0, stream),
      ask: priceAt(view, 8, stream),
      last: priceAt(view, 16, stream),
      volume: quantityAt(view, 24, stream),
    },
    1,
  ];
}

function status(view) {
  return [{ type: "status", status: STATUSES[view.getUint8(0)] ?? null }, 1];
}

const BODIES = { 1: quote, 2: trade, 3: orderbook, 4: order, 5: price, 6: bar, 7: status, 8: orders };

/** Reads JSON with every number as its text, so that nothing is rounded. */
export function parseExact(text) {
  const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  return JSON.parse(text.replace(tokens, (token) => (token[0] === '"' ? token : `"${token}"`)));
}

/** The same form from decoded messages: every number as its text. */
export function canonical(value) {
  if (Array.isArray(value)) return value.map(canonical);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, canonical(inner)]));
  }
  return typeof value === "number" ? value.toString() : value;
}

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0x82f63b78 : byte >>> 1;
  return byte;
});

export function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC32C[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

/** One book, kept by the rules of "How to keep a book right". `bids` and `asks` map BigInt prices to quantities. */
export class Book {
  #parts = null;

  constructor(stream) {
    this.stream = stream;
    this.bids = new Map();
    this.asks = new Map();
    this.lastSeq = null;
  }

  /** Takes one `orderbook` message, decoded or read by `parseExact`. False: a gap, subscribe again. */
  apply(message) {
    const first = Number(message.first_seq);
    const last = Number(message.last_seq);
    if (message.snapshot) {
      const part = Number(message.part ?? 1);
      if (part === 1) this.#parts = [new Map(), new Map()];
      if (!this.#parts) return false;
      this.#set(this.#parts, message);
      if (part === Number(message.parts ?? 1)) {
        [this.bids, this.asks] = this.#parts;
        this.#parts = null;
        this.lastSeq = last;
        if (message.checksum !== undefined && Number(message.checksum) !== this.checksum()) return false;
      }
      return true;
    }
    if (this.lastSeq === null) return false;
    if (last <= this.lastSeq) return true;
    if (first > this.lastSeq + 1) return false;
    this.#set([this.bids, this.asks], message);
    this.lastSeq = last;
    return true;
  }

  /** Bids and asks as `[price, quantity]` in exact decimal text, best first. */
  levels(depth) {
    return this.#bestFirst().map((levels) =>
      levels
        .slice(0, depth)
        .map(([price, quantity]) => [
          decimalText(price, this.stream.price_exponent),
          decimalText(quantity, this.stream.quantity_exponent),
        ]),
    );
  }

  /** CRC32C of the best min(10, depth) levels a side. */
  checksum(depth = 10) {
    const levels = this.#bestFirst().flatMap((side) => side.slice(0, Math.min(10, depth)));
    const view = new DataView(new ArrayBuffer(levels.length * LEVEL_BYTES));
    levels.forEach(([price, quantity], i) => {
      view.setBigInt64(i * LEVEL_BYTES, price, true);
      view.setBigInt64(i * LEVEL_BYTES + 8, quantity, true);
    });
    return crc32c(new Uint8Array(view.buffer));
  }

  #bestFirst() {
    const ascending = (a, b) => (a[0] < b[0] ? -1 : 1);
    return [[...this.bids].sort(ascending).reverse(), [...this.asks].sort(ascending)];
  }

  #set(sides, message) {
    [message.bids, message.asks].forEach((levels, i) => {
      for (const [price, quantity] of levels) {
        const key = decimalInteger(price, this.stream.price_exponent);
        const value = decimalInteger(quantity, this.stream.quantity_exponent);
        if (value === 0n) sides[i].delete(key);
        else sides[i].set(key, value);
      }
    });
  }
}

/**
 * The orders of one instrument, kept by the rules of "How to keep the orders right". `orders` maps identifiers to
 * `[side, price, quantity]`, in the order in which they joined their queues.
 */
export class Orders {
  #parts = null;

  constructor(stream) {
    this.stream = stream;
    this.orders = new Map();
    this.lastSeq = null;
  }

  /** Takes one `orders` or `order` message. False: a gap, subscribe again. */
  apply(message) {
    const first = Number(message.first_seq);
    const last = Number(message.last_seq);
    if (message.type === "orders") {
      const part = Number(message.part ?? 1);
      if (part === 1) this.#parts = new Map();
      if (!this.#parts) return false;
      for (const [orderId, ...rest] of message.orders) this.#parts.set(orderId, this.#order(...rest));
      if (part === Number(message.parts ?? 1)) {
        this.orders = this.#parts;
        this.#parts = null;
        this.lastSeq = last;
      }
      return true;
    }
    if (this.lastSeq === null) return false;
    if (last <= this.lastSeq) return true;
    if (first > this.lastSeq + 1) return false;
    this.lastSeq = last;
    if (message.action === "clear") {
      this.orders.clear();
      return true;
    }
    const order = this.#order(message.side, message.price, message.quantity);
    const [, price, quantity] = order;
    if (message.action === "modify") {
      const [, oldPrice, oldQuantity] = this.orders.get(message.order_id);
      if (price !== oldPrice || quantity > oldQuantity) this.orders.delete(message.order_id);
    }
    // A key that is there keeps its place, one that is not joins the end.
    if (quantity === 0n) this.orders.delete(message.order_id);
    else this.orders.set(message.order_id, order);
    return true;
  }

  /** Identifier, price and quantity of each order of a side, in price-time priority. */
  side(side) {
    const ofSide = [...this.orders].filter(([, [its]]) => its === side);
    const orders = ofSide.map(([orderId, [, price, quantity]]) => [orderId, price, quantity]);
    const better = (a, b) => (side === "bid" ? a > b : a < b);
    // Sorting keeps the order of those that are equal.
    return orders.sort((a, b) => (a[1] === b[1] ? 0 : better(a[1], b[1]) ? -1 : 1));
  }

  #order(side, price, quantity) {
    return [
      side,
      decimalInteger(price, this.stream.price_exponent),
      decimalInteger(quantity, this.stream.quantity_exponent),
    ];
  }
}
