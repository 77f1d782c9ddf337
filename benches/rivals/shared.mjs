// What the rivals in JavaScript share: flags, the wall clock, frames, answers, and when to publish. The same as frame.rs,
// schedule.rs and shared.rs.

import { createInterface } from "node:readline";

const NANOSECONDS = 1_000_000_000n;
/** Bytes of the payload: frame header 16, message header 40, trade 32. */
const PAYLOAD_BYTES = 88;
/** Bytes that may wait for a client before everybody waits for it. */
const WAITING_BYTES_MAX = 256 * 1024;

export const SUBPROTOCOL = "tickcast.v1.bin";

/** What the load generator says of the workload; flags beside these are for others. */
function readFlags(words) {
  const values = { symbols: "1", gather: "1", rate: "1000", connections: "1", content: "trades" };
  words.forEach((word, at) => {
    const name = word.slice(2);
    if (word.startsWith("--") && name in values) values[name] = words[at + 1];
  });
  const number = (name) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} ${values[name]}: allowed: 1 or more`);
    return value;
  };
  if (values.content !== "trades") throw new Error("a rival publishes trades and nothing else");
  const rate = values.rate === "max" ? null : number("rate");
  return { symbols: number("symbols"), gather: number("gather"), connections: number("connections"), rate };
}

export const flags = readFlags(process.argv.slice(2));

/**
 * The wall clock to the nanosecond. `Date.now()` knows milliseconds only, but when it steps, it is exact; of several
 * steps the one that was seen soonest counts.
 */
const wallOffset = (() => {
  let best = null;
  for (let turn = 0; turn < 20; turn += 1) {
    const before = Date.now();
    let after = before;
    while (after === before) after = Date.now();
    const offset = BigInt(after) * 1_000_000n - process.hrtime.bigint();
    if (best === null || offset > best) best = offset;
  }
  return best;
})();

const unixNs = () => process.hrtime.bigint() + wallOffset;

/** The first message of a connection. */
export const welcome = JSON.stringify({ type: "welcome", protocol: SUBPROTOCOL, epoch: 1 });

/** Answers a request: its text, and the instruments that were subscribed to, if any. */
export function answer(text) {
  const request = JSON.parse(text);
  const numbers = [...Array(flags.symbols).keys()];
  const reply = (fields) => JSON.stringify({ id: request.id, more: false, ...fields });
  if (request.op === "list") {
    const instruments = numbers.map((instrument) => ({ symbol: `S${instrument}`, instrument }));
    return { text: reply({ type: "instruments", epoch: 1, instruments }) };
  }
  if (request.op !== "subscribe") {
    return { text: reply({ type: "error", code: "bad_request", message: "a rival knows list and subscribe" }) };
  }
  const wanted = request.symbols.includes("*") ? numbers : request.symbols.map((symbol) => Number(symbol.slice(1)));
  const streams = wanted.map((instrument) => ({
    symbol: `S${instrument}`,
    instrument,
    channel: "trades",
    price_exponent: -2,
    quantity_exponent: 0,
    epoch: 1,
    seq: 0,
  }));
  return { text: reply({ type: "subscribed", streams }), subscribed: wanted };
}

/** A payload that is still without instrument, sequence and times. */
const blank = (() => {
  const payload = new DataView(new ArrayBuffer(PAYLOAD_BYTES));
  // Version 1, channel 2 (trades), one message; the epoch.
  payload.setUint32(0, 0x0001_02_01, true);
  payload.setBigUint64(8, 1n, true);
  // Length, kind 2 (trade), flags 2 (last).
  payload.setUint32(16, 72, true);
  payload.setUint16(20, 0x0202, true);
  // Price, quantity, trade id, aggressor.
  payload.setBigInt64(56, 10_000n, true);
  payload.setBigInt64(64, 7n, true);
  payload.setBigUint64(72, 1n, true);
  payload.setUint8(80, 1);
  return new Uint8Array(payload.buffer);
})();

/** The payload of a trade. It is the caller's: nobody writes to it again. */
function trade(instrument, seq, dueNs, sentNs) {
  const payload = Buffer.allocUnsafe(PAYLOAD_BYTES);
  payload.set(blank);
  payload.writeUInt32LE(instrument, 4);
  for (const at of [24, 32]) {
    payload.writeUInt32LE(seq % 2 ** 32, at);
    payload.writeUInt32LE(Math.floor(seq / 2 ** 32), at + 4);
  }
  payload.writeBigUInt64LE(dueNs, 40);
  payload.writeBigUInt64LE(sentNs, 48);
  return payload;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * Publishes. Burst k is due k gaps after the first; the timers of JavaScript keep that to a millisecond.
 *
 * - `send(instrument, payload)`: one message to all who have the instrument;
 * - `waiting()`: bytes that wait for the slowest client, for whom everybody waits;
 * - `ticks`: how many are published from one turn of the event loop to the next, at the most.
 */
async function publish({ send, waiting, ticks }) {
  const { symbols, gather, rate } = flags;
  const gapNs = rate === null ? 0n : (BigInt(gather) * NANOSECONDS + BigInt(rate) - 1n) / BigInt(rate);
  const burst = rate === null ? Math.max(gather, ticks) : gather;
  const seqs = new Array(symbols).fill(0);
  let instrument = 0;
  let dueNs = unixNs();
  for (;;) {
    const aheadMs = Number(dueNs - unixNs()) / 1e6;
    if (rate !== null && aheadMs > 0) await sleep(aheadMs);
    let sentNs = unixNs();
    if (rate === null) dueNs = sentNs;
    else if (dueNs > sentNs) continue;
    for (let tick = 0; tick < burst; tick += 1) {
      if (tick > 0 && tick % ticks === 0) {
        await turn();
        sentNs = unixNs();
      }
      while (tick % ticks === 0 && waiting() > WAITING_BYTES_MAX) {
        await sleep(1);
        sentNs = unixNs();
      }
      seqs[instrument] += 1;
      send(instrument, trade(instrument, seqs[instrument], dueNs, sentNs));
      instrument = (instrument + 1) % symbols;
    }
    dueNs += gapNs;
    await turn();
  }
}

/** Says where clients find the server, publishes from the first line of standard input on, ends with it. */
export function serve(port, publisher) {
  console.log(`ws://127.0.0.1:${port}/ws`);
  const lines = createInterface({ input: process.stdin });
  lines.once("line", () => publish(publisher));
  lines.once("close", () => process.exit(0));
}
