// A client of a running server that holds what it hears to docs/protocol.md, and prints what it saw as JSON.
//
//     live.mjs market ADDRESS SYMBOL...     every channel, every depth view, both encodings, HTTP beside them
//     live.mjs resume ADDRESS SYMBOL...     leaves and comes back again and again, with `from`
//     live.mjs slow ADDRESS SYMBOL...       a market that ends: falls behind by what it reports (`progress`), and recovers
//     live.mjs stop ADDRESS SYMBOL...       hears until the server closes
//
// The first thing that is not as documented ends it with exit code 1 and a message.

import { CHANNELS, Transcript, bars, books, ledgers, queues, twins } from "./live_checks.mjs";
import { resume, slow } from "./live_delivery.mjs";
import { BINARY_PROTOCOL, Connection, JSON_PROTOCOL, expect, http } from "./live_session.mjs";

const DEPTHS = [1, 5, 10, 25];
// Trades that the connections hear at least before they stop.
const ENOUGH = 300;

const add = (sum, more) => {
  for (const [key, count] of Object.entries(more)) sum[key] = (sum[key] ?? 0) + count;
  return sum;
};

async function market(address, ...symbols) {
  const full = [];
  for (const protocol of [undefined, JSON_PROTOCOL, BINARY_PROTOCOL]) {
    full.push(await Connection.open(address, protocol));
  }
  const [plain, text, binary] = full;
  const views = [];
  for (const depth of DEPTHS) {
    for (const protocol of [JSON_PROTOCOL, BINARY_PROTOCOL]) {
      const view = await Connection.open(address, protocol);
      views.push(view);
      await view.request(depth, { op: "subscribe", symbols, channels: ["book"], depth });
    }
  }
  await dialogue(plain);
  for (const connection of full) {
    const channels = CHANNELS.filter((channel) => channel !== "status");
    await connection.request("data", { op: "subscribe", symbols, channels, period: "1s" });
    await connection.request(5, { op: "subscribe", symbols: ["*"], channels: ["status"] });
  }
  const everyone = [...full, ...views];
  const bodies = new Map(symbols.map((symbol) => [symbol, new Map()]));
  let polls = 0;
  let isPolling = true;
  const polling = (async () => {
    while (isPolling) {
      for (const [symbol, bySeq] of bodies) {
        for (const depth of [undefined, ...DEPTHS]) {
          const body = await http(address, `/api/v1/book/${symbol}${depth ? `?depth=${depth}` : ""}`);
          const seq = Number(body.last_seq);
          bySeq.set(seq, [...(bySeq.get(seq) ?? []), [depth, body]]);
          polls++;
        }
      }
    }
  })();
  await text.until(() => text.trades >= ENOUGH, "enough trades");
  const { connections } = await http(address, "/api/v1/connections?streams=true");
  // A heartbeat tells how far the views are complete.
  for (const connection of everyone) {
    const seen = connection.heartbeats;
    await connection.until(() => connection.heartbeats > seen || connection.heartbeats > 1, "heartbeat");
  }
  isPolling = false;
  await polling;
  const transcripts = new Map(everyone.map((connection) => [connection, new Transcript(connection)]));
  for (const connection of [text, binary]) await leaveStreams(connection, symbols);
  for (const connection of everyone) await connection.leave();
  for (const connection of [text, binary]) new Transcript(connection);

  const [a, b, c] = full.map((connection) => transcripts.get(connection));
  const compared = twins(b, c);
  twins(a, c);
  const right = {};
  for (const symbol of symbols) {
    const streams = views.map((view) => transcripts.get(view).of(symbol, "book"));
    for (const transcript of [b, c]) add(right, books(transcript.of(symbol, "book"), streams, bodies.get(symbol)));
    for (const transcript of [b, c]) add(right, bars(transcript.of(symbol, "bars"), transcript.of(symbol, "trades")));
    add(right, { orders: queues(b.of(symbol, "orders"), c.of(symbol, "orders")) });
  }
  for (const transcript of transcripts.values()) add(right, { ledgers: ledgers(transcript, connections) });
  for (let i = 0; i < views.length; i += 2) {
    const counts = twins(transcripts.get(views[i]), transcripts.get(views[i + 1]));
    add(compared, { [`depth ${DEPTHS[i / 2]}`]: counts.book });
  }
  const heard = Object.fromEntries(full.map((connection) => [connection.name, transcripts.get(connection).counts]));
  return { heard, compared, right, http: polls };
}

async function dialogue(connection) {
  const listed = await connection.request("all", { op: "list" });
  expect(listed.type === "instruments", listed);
  expect((await connection.request(7, { op: "ping" })).type === "pong", "pong");
  const refused = {
    unknown_op: { op: "dance" },
    bad_request: { op: "subscribe", symbols: "*", channels: ["quotes"] },
    unknown_symbol: { op: "subscribe", symbols: ["NO-SUCH"], channels: ["quotes"] },
    unknown_channel: { op: "subscribe", symbols: ["*"], channels: ["gossip"] },
    unavailable: { op: "auth" },
  };
  for (const [code, request] of Object.entries(refused)) {
    const answer = await connection.request(code, request);
    expect(answer.type === "error" && answer.code === code, code, answer);
  }
}

/** Ends the streams, first some and then all: silence is kept though the market goes on. (Transcript looks.) */
async function leaveStreams(connection, symbols) {
  const some = await connection.request("some", { op: "unsubscribe", symbols, channels: ["trades", "quotes"] });
  expect(some.streams.length === 2 * symbols.length, some);
  let heard = connection.messages;
  await connection.until(() => connection.messages > heard + 100, "books after trades and quotes");
  await connection.request("rest", { op: "unsubscribe", symbols: ["*"], channels: CHANNELS });
  heard = connection.messages;
  const seq = async () => Number((await http(connection.address, `/api/v1/book/${symbols[0]}?depth=1`)).last_seq);
  const before = await seq();
  while ((await seq()) < before + 20);
  await connection.request("after", { op: "list" });
  expect(connection.messages === heard, `${connection.name} got market data after unsubscribed`);
}

/** Hears until the server closes: the last is data in order, then the notice, then 1001. */
async function stop(address, ...symbols) {
  const connections = [];
  for (const protocol of [JSON_PROTOCOL, BINARY_PROTOCOL]) {
    const connection = await Connection.open(address, protocol);
    await connection.request(1, { op: "subscribe", symbols, channels: CHANNELS });
    await connection.until(() => connection.messages > 200, "messages");
    connections.push(connection);
  }
  console.log("ready");
  const clients = [];
  for (const connection of connections) {
    await connection.untilClosed();
    const transcript = new Transcript(connection);
    expect(transcript.notices.join() === "shutting_down", connection.name, transcript.notices);
    expect(connection.log.at(-1).type === "notice", "after the notice:", connection.log.at(-1));
    const ends = Object.fromEntries([...transcript.streams.values()].map((stream) => [stream.key, stream.last]));
    clients.push({ close: connection.close, ends, messages: connection.messages });
  }
  return { clients };
}

const [mode, ...parameters] = process.argv.slice(2);
try {
  console.log(JSON.stringify(await { market, resume, slow, stop }[mode](...parameters)));
} catch (error) {
  console.error(`live.mjs ${mode}: ${error.stack}`);
  process.exit(1);
}
