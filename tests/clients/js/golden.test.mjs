// The golden files, read by the JavaScript decoder: `node --test tests/clients/js/golden.test.mjs`.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";

import { Book, DecodeError, Orders, canonical, crc32c, decimalInteger, decimalText, decodeFrame, parseExact } from "./decode.mjs";

const GOLDEN = new URL("../../data/golden/", import.meta.url);
const cases = JSON.parse(readFileSync(new URL("expected.json", GOLDEN), "utf8")).frames.map((expected) => ({
  ...expected,
  payload: new Uint8Array(readFileSync(new URL(`${expected.name}.bin`, GOLDEN))),
  lines: readFileSync(new URL(`${expected.name}.jsonl`, GOLDEN), "utf8").trimEnd().split("\n"),
  streams: { [expected.stream.instrument]: expected.stream },
}));

test("every file is expected", () => {
  const files = readdirSync(GOLDEN).filter((name) => name.endsWith(".bin"));
  assert.deepEqual(cases.map(({ name }) => `${name}.bin`).sort(), files.sort());
  assert.ok(cases.length >= 10);
});

for (const { name, payload, lines, streams, frame } of cases) {
  test(name, () => {
    assert.deepEqual(decodeFrame(payload, streams), frame);
    assert.deepEqual(decodeFrame(payload.buffer.slice(payload.byteOffset, payload.byteOffset + payload.length), streams), frame);
    assert.deepEqual(lines.map(parseExact), canonical(decodeFrame(payload, streams).messages));
    for (let end = 0; end < payload.length; end++) {
      assert.throws(() => decodeFrame(payload.subarray(0, end), streams), DecodeError);
    }
    assert.throws(() => decodeFrame(Uint8Array.of(...payload, 0, 0, 0, 0, 0, 0, 0, 0), streams), DecodeError);
    assert.throws(() => decodeFrame(Uint8Array.of(2, ...payload.subarray(1)), streams), /version 2/);
  });
}

test("decimals go there and back", () => {
  for (const value of [0n, 1n, -1n, 10n, -500n, 2n ** 63n - 1n, 1n - 2n ** 63n]) {
    for (let exponent = -18; exponent <= 18; exponent++) {
      assert.equal(decimalInteger(decimalText(value, exponent), exponent), value);
    }
  }
});

test("books and checksums", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  const books = {};
  for (const { name, payload, streams, stream, frame } of cases) {
    if (frame.channel !== "book" || name === "book_empty") continue;
    const book = (books[stream.instrument] ??= new Book(stream));
    for (const message of decodeFrame(payload, streams).messages) assert.ok(book.apply(message));
  }
  assert.equal(books[1].lastSeq, 1007);
  assert.deepEqual(books[1].levels(), [
    [["4809.75", "31"], ["4809.5", "7"], ["4809.25", "3"]],
    [["4810.25", "27"], ["4810.5", "40"]],
  ]);
  assert.deepEqual([books[2].lastSeq, books[2].bids.size, books[2].asks.size], [50, 12, 2]);
  const update = { snapshot: false, first_seq: 1009, last_seq: 1010, bids: [], asks: [] };
  assert.equal(books[1].apply(update), false, "1008 is missing");
  assert.equal(books[1].apply({ ...update, first_seq: 1000, last_seq: 1007 }), true, "old news");
  assert.equal(books[1].lastSeq, 1007);
});

test("orders", () => {
  const kept = {};
  for (const wanted of ["orders", "order", "order_clear"]) {
    const { payload, streams, stream } = cases.find(({ name }) => name === wanted);
    const orders = (kept[stream.instrument] ??= new Orders(stream));
    for (const message of decodeFrame(payload, streams).messages) assert.ok(orders.apply(message));
  }
  assert.deepEqual(kept[1].side("bid"), [
    ["12", 481_000n, 7n],
    ["18", 481_000n, 4n],
    ["9007199254740993", 481_000n, 6n],
    ["7", 480_975n, 31n],
  ]);
  assert.deepEqual([kept[1].side("ask"), kept[1].lastSeq], [[], 405]);
  assert.deepEqual([kept[2].orders.size, kept[2].lastSeq], [0, 4]);
  const late = { type: "order", first_seq: 407, last_seq: 407, action: "clear" };
  assert.equal(kept[1].apply(late), false, "406 is missing");
  assert.equal(kept[1].apply({ ...late, first_seq: 405, last_seq: 405 }), true, "old news");
  assert.equal(kept[1].orders.size, 4);
});
