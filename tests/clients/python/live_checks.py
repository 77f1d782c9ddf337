"""Holds what connections heard to docs/protocol.md: shapes, order, sequences, books, the encodings side by side."""

import collections

import tickcast_decode as tickcast
from live_session import BINARY, DATA, JSON, expect

CHANNELS = ["quotes", "trades", "book", "ticker", "status"]
INSTRUMENT = {"symbol", "instrument", "price_exponent", "quantity_exponent", "tick_size", "lot_size"}
GRANTED = INSTRUMENT | {"channel", "depth", "interval_ms", "epoch", "seq"}
LISTED = INSTRUMENT | {"channels", "status"}
HEAD = {"type", "symbol", "first_seq", "last_seq", "timestamp", "ts_ns", "sent_ns"}
BODY = {
    "quote": {"bid", "bid_quantity", "ask", "ask_quantity"},
    "trade": {"price", "quantity", "aggressor", "trade_id"},
    "orderbook": {"snapshot", "bids", "asks"},
    "price": {"bid", "ask", "last", "volume"},
    "status": {"status"},
}


class Stream:
    """One stream from its ``subscribed`` to its end."""

    def __init__(self, entry, with_snapshot):
        self.entry = entry
        self.channel = entry["channel"]
        self.epoch = int(entry["epoch"])
        self.depth = entry["depth"] and int(entry["depth"])
        self.with_snapshot = with_snapshot
        self.begin(None if with_snapshot else int(entry["seq"]))

    def begin(self, last):
        self.last = last
        self.snapshots = 0
        self.part = 0
        self.messages = []
        self.complete_to = 0
        numbers = {key: int(self.entry[key]) for key in ("price_exponent", "quantity_exponent")}
        self.book = tickcast.Book(numbers) if self.channel == "book" else None
        if self.book:
            self.book.last_seq = last

    def take(self, message):
        first, last = int(message["first_seq"]), int(message["last_seq"])
        if message.get("snapshot"):
            self._take_snapshot(message, first, last)
        else:
            if self.last is None and self.channel == "trades":
                self.last = int(self.entry["seq"])  # There was no trade yet.
            expect(self.last is not None, "a change before the snapshot:", message)
            expect(first == self.last + 1 <= last, f"sequences after {self.last}:", message)
            self.last = last
        if self.book:
            expect(self.book.apply(message), "gap or wrong checksum in the book:", message)
            expect("checksum" in message or not message.get("snapshot") or self.part, "no checksum:", message)
        self.messages.append(message)

    def _take_snapshot(self, message, first, last):
        part, parts = int(message.get("part", 1)), int(message.get("parts", 1))
        expect(self.with_snapshot, "nobody asked for a snapshot:", message)
        expect(self.snapshots == 0, "a second snapshot:", message)
        expect(first == last, "a snapshot covers nothing:", message)
        expect(part == self.part + 1 <= parts, "part after", self.part, message)
        self.part = part % parts
        if part == parts:
            self.snapshots, self.last = 1, last


class Transcript:
    """What one connection heard, checked message by message. ``streams`` and ``finished`` hold the streams."""

    def __init__(self, connection):
        self.name = connection.name
        self.is_binary = connection.protocol == BINARY
        self.requests = connection.requests
        self.streams = {}
        self.finished = []
        self.numbers = {}
        self.counts = collections.Counter()
        self.notices = []
        self.resets = []
        for position, entry in enumerate(connection.log):
            try:
                if isinstance(entry, bytes):
                    expect(self.is_binary, "a binary message")
                    self._frame(entry)
                else:
                    expect((position == 0) == (entry["type"] == "welcome"), "welcome is first and only first:", entry)
                    self._text(entry)
            except Exception as error:
                error.add_note(f"{self.name}: message {position}")
                raise

    def all_streams(self):
        return self.finished + list(self.streams.values())

    def of(self, symbol, channel):
        return self.streams[symbol, channel]

    def _frame(self, payload):
        frame = tickcast.decode_frame(payload, self.numbers)
        self.counts["frames"] += 1
        expect(frame["messages"], "a frame without messages")
        for message in frame["messages"]:
            expect(DATA[message["type"]] == frame["channel"], "channel", frame["channel"], message)
            self._data(tickcast.canonical(message), frame["epoch"])

    def _text(self, message):
        kind = message["type"]
        if kind in DATA:
            expect(not self.is_binary, "market data as text:", message)
            return self._data(message, None)
        self.counts[kind] += 1
        getattr(self, f"_{kind}")(message)

    def _data(self, message, epoch):
        kind = message["type"]
        must, may = HEAD | BODY[kind], {"merged", "more", "snapshot"}
        if kind == "orderbook":
            may |= {"checksum", "part", "parts"}
        expect(must <= set(message) <= must | may, "keys of", message)
        expect(message.get("more", True) is True and message.get("snapshot", True) in (True, False), message)
        expect(int(message["ts_ns"]) // 1_000_000 == int(message["timestamp"]), "timestamp of", message)
        stream = self.streams.get((message["symbol"], DATA[kind]))
        expect(stream is not None, "data of a stream that is not subscribed:", message)
        expect(epoch in (None, stream.epoch), "epoch", epoch, "instead of", stream.epoch, message)
        stream.take(message)
        self.counts[DATA[kind]] += 1

    def _welcome(self, message):
        keys(message, {"type", "protocol", "server", "epoch", "heartbeat_ms", "limits"})
        keys(message["limits"], {"message_bytes", "request_symbols", "streams", "outbox_bytes"})
        expect(message["protocol"] == (BINARY if self.is_binary else JSON), message)
        expect(message["server"].startswith("tickcast/") and int(message["heartbeat_ms"]) == 5000, message)

    def _subscribed(self, message):
        keys(message, {"type", "id", "streams", "more"})
        request = self.requests[message["id"]]
        for entry in message["streams"]:
            keys(entry, GRANTED)
            expect(entry["interval_ms"] == "0" and entry["channel"] in request["channels"], entry)
            with_snapshot = request.get("snapshot", entry["channel"] != "trades")
            key = entry["symbol"], entry["channel"]
            if key in self.streams:
                self.finished.append(self.streams.pop(key))
            self.streams[key] = Stream(entry, with_snapshot)
            self.numbers[int(entry["instrument"])] = {
                **{name: int(entry[name]) for name in ("instrument", "price_exponent", "quantity_exponent")},
                "symbol": entry["symbol"],
            }

    def _unsubscribed(self, message):
        expect({"type", "id", "streams"} <= set(message) <= {"type", "id", "streams", "more"}, message)
        for entry in message["streams"]:
            keys(entry, {"symbol", "channel"})
            key = entry["symbol"], entry["channel"]
            expect(key in self.streams, "unsubscribed what was not subscribed:", entry)
            self.finished.append(self.streams.pop(key))

    def _heartbeat(self, message):
        keys(message, {"type", "ts_ns", "streams"})
        expect(len(message["streams"]) <= 64, "streams in a heartbeat:", len(message["streams"]))
        for entry in message["streams"]:
            keys(entry, {"symbol", "channel", "epoch", "seq"})
            stream, seq = self.streams.get((entry["symbol"], entry["channel"])), int(entry["seq"])
            expect(stream is not None, "a heartbeat names what is not subscribed:", entry)
            expect(int(entry["epoch"]) == stream.epoch, "epoch of", entry, "instead of", stream.epoch)
            last = stream.last
            if last is None and stream.channel == "trades":
                last = int(stream.entry["seq"])
            expect(last is not None, "a heartbeat names a stream before its snapshot:", entry)
            behind = last <= seq if stream.depth else last == seq
            expect(behind, f"heartbeat says complete up to {seq}, heard up to {last}:", entry)
            stream.complete_to = seq

    def _reset(self, message):
        keys(message, {"type", "symbol", "epoch", "reason"})
        expect(message["reason"] in ("loop", "seek", "restart"), message)
        self.resets.append(message)
        for (symbol, channel), stream in list(self.streams.items()):
            if symbol == message["symbol"]:
                expect(int(message["epoch"]) > stream.epoch, "epochs only grow:", message)
                entry = {**stream.entry, "epoch": message["epoch"], "seq": "0"}
                self.finished.append(stream)
                with_snapshot = stream.with_snapshot and channel != "trades"
                self.streams[symbol, channel] = Stream(entry, with_snapshot)

    def _instruments(self, message):
        keys(message, {"type", "id", "epoch", "instruments", "more"})
        for entry in message["instruments"]:
            keys(entry, LISTED)
            expect(entry["status"] in ("trading", "halted", "auction", "closed"), entry)

    def _pong(self, message):
        keys(message, {"type", "id", "ts_ns"})

    def _notice(self, message):
        keys(message, {"type", "code", "message"})
        self.notices.append(message["code"])

    def _error(self, message):
        must = {"type", "code", "message", "retry"}
        expect(must <= set(message) <= must | {"id"}, message)
        expect(message["retry"] in (True, False) and message["message"], message)


def keys(message, wanted):
    expect(set(message) == wanted, "keys of", message, "instead of", sorted(wanted))


def twins(a, b):
    """Two transcripts of the same streams say the same, message by message, as far as both go. How many by channel."""
    compared = collections.Counter()
    for key in a.streams.keys() & b.streams.keys():
        compared[key[1]] += twin_streams(a.of(*key), b.of(*key))
    for one in a.finished:
        for other in b.finished:
            if (stream_key(one), one.depth, one.epoch) == (stream_key(other), other.depth, other.epoch):
                compared[one.channel] += twin_streams(one, other)
    return compared


def stream_key(stream):
    return stream.entry["symbol"], stream.channel


def twin_streams(a, b):
    changes = [[m for m in stream.messages if not m.get("snapshot")] for stream in (a, b)]
    if not all(changes):
        return 0
    start = max(int(messages[0]["first_seq"]) for messages in changes)
    end = min(int(messages[-1]["last_seq"]) for messages in changes)
    # The first message of a view covers what passed unseen before it, so it may begin elsewhere.
    common = [
        [m for m in messages if start < int(m["first_seq"]) and int(m["last_seq"]) <= end] for messages in changes
    ]
    expect(len(common[0]) == len(common[1]), stream_key(a), "messages:", *map(len, common))
    for one, other in zip(*common):
        expect(one == other, "the encodings differ:", one, other)
    snapshots = [[m for m in stream.messages if m.get("snapshot")] for stream in (a, b)]
    if all(snapshots) and snapshots[0][0]["last_seq"] == snapshots[1][0]["last_seq"]:
        expect(snapshots[0] == snapshots[1], "the snapshots differ:", *snapshots)
    return len(common[0])


class View:
    """A depth view beside the full book."""

    def __init__(self, stream):
        self.stream = stream
        self.book = tickcast.Book(stream.book.stream)
        self.left = collections.deque(stream.messages)
        self.end = max(stream.complete_to, stream.last or 0)
        self.sides = None

    def advance(self, seq):
        while self.left and int(self.left[0]["last_seq"]) <= seq:
            message = self.left.popleft()
            self.book.apply(message)
            self.sides = sides(self.book)


def sides(book):
    return sorted(book.bids.items(), reverse=True), sorted(book.asks.items())


def books(full, views, bodies):
    """Every view shows the top of the full book after each of its changes, and HTTP the same at its sequence."""
    book = tickcast.Book(full.book.stream)
    views = [View(stream) for stream in views]
    by_seq = collections.defaultdict(list)
    for depth, body in bodies:
        if int(body["epoch"]) == full.epoch:
            by_seq[int(body["last_seq"])].append((depth, body))
    compared = collections.Counter()
    for message in full.messages:
        book.apply(message)
        seq = int(message["last_seq"])
        if book.last_seq != seq:
            continue  # A part of a snapshot.
        now = sides(book) if views else None
        for view in views:
            view.advance(seq)
            if view.sides is not None and seq <= view.end:
                cut = tuple(side[: view.stream.depth] for side in now)
                expect(view.sides == cut, f"view of {view.stream.depth} at {seq}:", view.sides, "instead of", cut)
                compared[f"depth {view.stream.depth}"] += 1
        for depth, body in by_seq.get(seq, ()):
            expect([body["bids"], body["asks"]] == book.levels(depth), f"HTTP, depth {depth}, differs at {seq}")
            expect(int(body["checksum"]) == book.checksum(depth or 10), f"checksum over HTTP at {seq}:", body)
            if not message.get("snapshot"):
                expect(body["ts_ns"] == message["ts_ns"], f"time over HTTP at {seq}:", body["ts_ns"])
            compared["http"] += 1
    return compared
