// Resuming, and clients that report no progress: what `live.mjs` does besides hearing everything. See there.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

import { CHANNELS, Transcript, ledgers, sides } from "./live_checks.mjs";
import { BINARY_PROTOCOL, Connection, JSON_PROTOCOL, expect, http } from "./live_session.mjs";

const STATES = ["quotes", "book", "ticker"];
const PATIENCE_MS = 60_000;

const add = (sum, name, count) => (sum[name] = (sum[name] ?? 0) + count);

/** Numbers that look random and are the same each time. */
function* numbers(seed) {
  for (let state = seed; ; ) yield (state = (state * 16_807) % 2_147_483_647);
}

async function connections(address) {
  return (await http(address, "/api/v1/connections?streams=true&limit=1000")).connections;
}

/** Waits until the server has told these connections so much, and they have heard it. */
async function untilTold(address, everyone, isTold) {
  for (const begun = Date.now(); ; ) {
    const listed = await connections(address);
    const told = everyone.map(({ peer }) => {
      const { streams } = listed.find((connection) => connection.peer === peer);
      return new Map(streams.map((row) => [`${row.symbol} ${row.channel}`, Number(row.seq)]));
    });
    if (isTold(told)) break;
    expect(Date.now() - begun < PATIENCE_MS, "never told:", told.map(Object.fromEntries));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // The answer comes behind what was told before.
  for (const connection of everyone) await connection.request(`told ${connection.received}`, { op: "list" });
}

/** Where a client stands: what it says in `from`. */
function positions(transcript) {
  return [...transcript.streams.values()]
    .filter((stream) => stream.last !== null && !stream.isStale)
    .map(({ entry, channel, epoch, last }) => ({ symbol: entry.symbol, channel, epoch, seq: last }));
}

/** One client that stays, others that come and go: to each of these nothing is lost and nothing comes twice. */
export async function resume(address, ...symbols) {
  const random = numbers(7);
  const told = {};
  const witness = await Connection.open(address, BINARY_PROTOCOL);
  await witness.request("all", { op: "subscribe", symbols, channels: CHANNELS, period: "1s", snapshot: true });
  for (const view of [
    { channels: CHANNELS, period: "1s" },
    { channels: STATES, depth: 5, interval_ms: 50 },
  ]) {
    const isWhole = view.channels === CHANNELS;
    for (const protocol of [JSON_PROTOCOL, BINARY_PROTOCOL]) {
      const heard = new Map();
      let earlier;
      for (let visit = 0; visit < 6; visit++) {
        const connection = await Connection.open(address, protocol);
        const from = earlier && positions(earlier);
        await connection.request("all", { op: "subscribe", symbols, ...view, from });
        const enough = connection.messages + 50 + (random.next().value % 350);
        await connection.until(() => connection.messages > enough, "messages");
        await connection.abort();
        const transcript = new Transcript(connection, earlier);
        for (const [key, stream] of transcript.streams) {
          if (earlier) {
            expect(stream.epoch === earlier.streams.get(key).epoch, "another epoch:", stream.entry);
            expect(stream.resumed || !isWhole || earlier.streams.get(key).last === null, "not resumed:", stream.entry);
            expect(!(stream.resumed && stream.snapshots), "a snapshot of what goes on:", stream.entry);
            expect(stream.gaps.length === 0, "a gap:", stream.gaps, stream.entry);
            add(told, stream.resumed ? "resumed" : "snapshots", 1);
          }
          heard.set(key, [...(heard.get(key) ?? []), ...stream.messages]);
        }
        earlier = transcript;
      }
      if (isWhole) {
        const ends = [...earlier.streams.values()].filter((stream) => stream.last !== null);
        await untilTold(address, [witness], ([at]) => ends.every((stream) => at.get(stream.key) >= stream.last));
        compare(new Transcript(witness), heard, told);
      }
    }
  }
  await strangers(address, symbols, told);
  await witness.leave();
  return told;
}

/** What somebody heard in several visits is, message by message, what the one who stayed has heard. */
function compare(whole, heard, told) {
  for (const [key, messages] of heard) {
    const stream = whole.streams.get(key);
    let changes = messages.filter((message) => !message.snapshot);
    if (changes.length === 0) continue;
    const begin = Number(changes[0].first_seq);
    let next = begin;
    for (const message of changes) {
      expect(Number(message.first_seq) === next, `after ${next - 1} comes`, message);
      next = Number(message.last_seq) + 1;
    }
    let theirs = stream.messages.filter(
      (message) => !message.snapshot && Number(message.first_seq) >= begin && Number(message.last_seq) < next,
    );
    if (stream.channel === "bars") {
      // Told in between is only how a bar stood then; each that is complete is told, now and then once more as it is.
      [changes, theirs] = [changes, theirs].map((all) => completeBars(all));
    }
    assert.deepEqual(changes, theirs, `resumed and as it was: ${key}`);
    add(told, stream.channel, changes.length);
  }
}

function completeBars(messages) {
  const bars = messages.filter((message) => message.complete).map(barOf);
  return bars.filter((bar, i) => !isDeepStrictEqual(bar, bars[i - 1]));
}

const barOf = ({ start, open, high, low, close, volume }) => ({ start, open, high, low, close, volume });

/** Who names an epoch that is none gets a reset and begins anew; who is ahead waits and then begins anew. */
async function strangers(address, symbols, told) {
  for (const protocol of [JSON_PROTOCOL, BINARY_PROTOCOL]) {
    let connection = await Connection.open(address, protocol);
    const epoch = Number(connection.log[0].epoch);
    let from = symbols.flatMap((symbol) => CHANNELS.map((channel) => ({ symbol, channel, epoch: epoch - 1, seq: 5 })));
    await connection.request("stranger", { op: "subscribe", symbols, channels: CHANNELS, from });
    await connection.until(() => connection.messages > 500, "messages");
    const transcript = new Transcript(connection);
    const resets = transcript.resets.map(({ symbol }) => symbol).sort();
    assert.deepEqual(resets, [...symbols].sort(), "a reset for each instrument");
    expect(transcript.resets.every((reset) => Number(reset.epoch) === epoch), transcript.resets);
    for (const stream of transcript.streams.values()) {
      const mayLack = ["trades", "bars"].includes(stream.channel);
      expect(stream.snapshots === 1 || mayLack, "no snapshot after the reset:", stream.entry);
    }
    add(told, "resets", resets.length);
    await connection.leave();

    connection = await Connection.open(address, protocol);
    from = STATES.map((channel) => ({ symbol: symbols[0], channel, epoch, seq: 2 ** 52 }));
    const begun = Date.now();
    await connection.request("ahead", { op: "subscribe", symbols: symbols.slice(0, 1), channels: STATES, from });
    await connection.until(() => connection.messages >= 3, "snapshots");
    expect(Date.now() - begun > 1_000, "a snapshot at once for who is ahead of the server");
    add(told, "ahead", 1);
    await connection.leave();
  }
}

/** Clients that read, but whose program takes nothing: what they miss is merged, and they end where the others do. */
export async function slow(address, ...symbols) {
  const witness = await Connection.open(address, BINARY_PROTOCOL);
  const choked = [await Connection.open(address, JSON_PROTOCOL), await Connection.open(address, BINARY_PROTOCOL)];
  const everyone = [witness, ...choked];
  for (const connection of everyone) {
    await connection.request("all", { op: "subscribe", symbols, channels: CHANNELS, period: "1s" });
  }
  for (const connection of choked) connection.progress(1);
  for (const connection of choked) {
    await connection.untilNoticed("conflating");
    expect(!connection.notices.has("recovered"), "recovered without progress");
  }
  for (const connection of choked) {
    connection.report();
    await connection.untilNoticed("recovered");
  }
  for (const connection of everyone) await connection.untilNoticed("replay_ended");
  await untilTold(address, everyone, ([whole, ...others]) =>
    others.every((told) => [...whole].every(([key, seq]) => told.get(key) === seq)),
  );
  const transcripts = everyone.map((connection) => new Transcript(connection));
  const listed = await connections(address);
  const told = {};
  const [whole] = transcripts;
  for (const transcript of transcripts) {
    add(told, "ledgers", ledgers(transcript, listed));
    for (const stream of transcript.streams.values()) {
      const { delivered, merged, lost } = stream.ledger;
      expect(delivered + merged + lost === stream.last - stream.begin, "the ledger does not balance:", stream.ledger);
      if (transcript === whole) continue;
      add(told, "merged", merged);
      add(told, "lost", lost);
      add(told, "clears", stream.messages.filter((message) => message.action === "clear").length);
      sameEnd(stream, whole.streams.get(stream.key));
    }
    add(told, "recovered", transcript.notices.filter((code) => code === "recovered").length);
  }
  for (const connection of everyone) await connection.leave();
  return told;
}

function sameEnd(ours, whole) {
  expect(ours.last === whole.last, `${ours.key} ends at ${ours.last} instead of ${whole.last}`);
  if (ours.channel === "book") {
    assert.deepEqual(sides(ours.book), sides(whole.book), `the book of a slow client: ${ours.key}`);
  } else if (ours.channel === "orders") {
    const [held, theirs] = [ours, whole].map(({ book }) => ["bid", "ask"].map((side) => book.side(side)));
    assert.deepEqual(held, theirs, `the queues of a slow client: ${ours.key}`);
  } else if (ours.channel === "trades") {
    // Each was told as it was or declared lost; the one who stays may lack some too.
    const [heard, theirs] = [ours, whole].map(({ messages }) => new Map(messages.map((m) => [m.first_seq, m])));
    const { delivered, merged, lost } = ours.ledger;
    expect(heard.size === delivered && merged === 0, `trades told ${heard.size}, lost ${lost}:`, ours.ledger);
    for (const [seq, message] of heard) if (theirs.has(seq)) assert.deepEqual(message, theirs.get(seq));
  } else if (ours.channel === "bars") {
    const complete = [ours, whole].map(({ messages }) => messages.filter((message) => message.complete).map(barOf));
    assert.deepEqual(complete[0], complete[1].slice(-complete[0].length), `completed bars: ${ours.key}`);
  }
}
