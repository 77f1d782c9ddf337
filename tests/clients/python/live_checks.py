"""Holds what connections heard to docs/protocol.md: shapes, order, sequences, books, the encodings side by side."""

import collections
import fractions

import tickcast_decode as tickcast
from live_session import BINARY, DATA, JSON, expect

CHANNELS = ["quotes", "trades", "book", "orders", "ticker", "bars", "status"]
INTERVALS_MS = [0, 10, 50, 100, 250, 500, 1000, 5000]
PERIODS_NS = {"1s": 10**9, "1m": 60 * 10**9, "5m": 300 * 10**9, "1h": 3600 * 10**9}
INSTRUMENT = {"symbol", "instrument", "price_exponent", "quantity_exponent", "tick_size", "lot_size"}
GRANTED = INSTRUMENT | {"channel", "depth", "interval_ms", "epoch", "seq"}
LISTED = INSTRUMENT | {"channels", "status"}
HEAD = {"type", "symbol", "first_seq", "last_seq", "timestamp", "ts_ns", "sent_ns"}
BODY = {
    "quote": {"bid", "bid_quantity", "ask", "ask_quantity"},
    "trade": {"price", "quantity", "aggressor", "trade_id"},
    "orderbook": {"snapshot", "bids", "asks"},
    "order": {"action", "order_id", "side", "price", "quantity"},
    "orders": {"orders"},
    "price": {"bid", "ask", "last", "volume"},
    "bar": {"period", "start", "open", "high", "low", "close", "volume", "complete"},
    "status": {"status"},
}
BODY_MAY = {"orderbook": {"checksum", "part", "parts"}, "orders": {"part", "parts"}, "order": {"executed"}}
# Updates of a book without a checksum that may follow one another.
UNCHECKED_MAX = 99


class Stream:
    """One stream from its ``subscribed`` to its end."""

    def __init__(self, entry, request, earlier=None):
        self.entry = entry
        self.channel = entry["channel"]
        self.epoch = int(entry["epoch"])
        self.depth = entry["depth"] and int(entry["depth"])
        self.interval_ms = int(entry["interval_ms"])
        self.period = entry.get("period")
        known = [f for f in request.get("from", []) if (f["symbol"], f["channel"]) == stream_key(self)]
        is_exact = self.channel == "bars" or not (self.depth or self.interval_ms)
        self.resumed = is_exact and any((f["epoch"], f["seq"]) == (self.epoch, int(entry["seq"])) for f in known)
        # Who comes back is given what he lacks, whatever he says of snapshots.
        self.with_snapshot = request.get("snapshot", self.channel != "trades") or bool(known)
        self.at_least = max((f["seq"] for f in known if f["epoch"] == self.epoch), default=0)
        # Without a state there is no snapshot: of trades before the first one, of bars while none runs.
        may_begin = self.resumed or not self.with_snapshot or self.channel in ("trades", "bars")
        self.last = int(entry["seq"]) if may_begin else None
        # Where the ledger begins.
        self.begin = self.last
        self.snapshots = 0
        self.part = 0
        self.messages = []
        # Where in the connection's log each of them stands.
        self.positions = []
        self.complete_to = 0
        self.gaps = []
        self.stale = False
        self.unchecked = 0
        self.ledger = {"delivered": 0, "merged": 0, "lost": 0}
        # The ledger as it was when the stream stood at a sequence.
        self.ledgers = {} if self.last is None else {self.last: dict(self.ledger)}
        numbers = {key: int(entry[key]) for key in ("price_exponent", "quantity_exponent")}
        makers = {"book": tickcast.Book, "orders": tickcast.Orders}
        self.state = makers[self.channel](numbers) if self.channel in makers else None
        self.bar = None
        if self.resumed and earlier is not None:
            self._go_on_from(earlier)
        elif self.state is not None and may_begin:
            self.state.last_seq = self.last

    @property
    def book(self):
        return self.state

    @property
    def leaves_out(self):
        return bool(self.depth or self.interval_ms or self.channel == "bars")

    def _go_on_from(self, earlier):
        expect((earlier.epoch, earlier.last) == (self.epoch, self.last), "resumed from", self.entry, earlier.last)
        self.state, self.bar, self.unchecked = earlier.state, earlier.bar, earlier.unchecked

    def take(self, message, position, may_merge):
        first, last = int(message["first_seq"]), int(message["last_seq"])
        whole = True
        if message.get("snapshot"):
            whole = self._take_snapshot(message, first, last, may_merge)
        else:
            expect(self.last is not None, "a change before the snapshot:", message)
            expect(not self.stale, "a change before the snapshot after a gap:", message)
            expect(self.part == 0, "a change between the parts of a snapshot:", message)
            expect(first == self.last + 1 <= last, f"sequences after {self.last}:", message)
            carried = len(message["bids"]) + len(message["asks"]) if self.channel == "book" else 1
            delivered = min(carried, last - self.last)
            self._count(last, delivered=delivered, merged=last - self.last - delivered)
        if self.state is not None:
            # What began without a snapshot is not the whole view, of which the checksum is.
            is_view = self.snapshots or self.resumed or self.channel == "orders"
            known = message if is_view else {key: message[key] for key in message.keys() - {"checksum"}}
            expect(self.state.apply(known), "gap or wrong checksum:", message)
        if self.channel == "book" and whole:
            self._look_at_checksum(message)
        if self.channel == "bars":
            self._look_at_bar(message)
        self.messages.append(message)
        self.positions.append(position)

    def _take_snapshot(self, message, first, last, may_merge):
        part, parts = int(message.get("part", 1)), int(message.get("parts", 1))
        expect(self.with_snapshot or self.interval_ms or may_merge, "nobody asked for a snapshot:", message)
        # A full book with an interval may be told whole where that is shorter.
        expected = self.snapshots == 0 or self.stale or may_merge or (self.interval_ms and self.channel == "book")
        expect(expected, "a second snapshot:", message)
        expect(first == last, "a snapshot covers nothing:", message)
        expect(last >= max(self.at_least, self.last or 0), "a snapshot from before what was held:", message)
        expect(part == self.part + 1 <= parts, "part after", self.part, message)
        self.part = part % parts
        if part < parts:
            return False
        begins = self.last is None or (self.snapshots == 0 and not self.resumed and not self.messages)
        if begins:
            self.begin = last
        self._count(last, merged=0 if begins else last - self.last)
        self.snapshots += 1
        self.stale = False
        return True

    def take_gap(self, message):
        first, last = int(message["from"]), int(message["to"])
        expect(int(message["epoch"]) == self.epoch, "a gap of another epoch:", message)
        expect(first == self.last + 1 <= last and int(message["count"]) == last - first + 1, self.last, message)
        self._count(last, lost=last - self.last)
        self.gaps.append((first, last))
        self.stale = self.channel in ("book", "orders")
        self.bar = None

    def _count(self, last, **what):
        for name, count in what.items():
            self.ledger[name] += count
        self.last = last
        self.ledgers[last] = dict(self.ledger)

    def _look_at_checksum(self, message):
        self.unchecked = 0 if "checksum" in message else self.unchecked + 1
        expect(self.unchecked <= UNCHECKED_MAX, self.unchecked, "updates without a checksum:", message)
        expect("checksum" in message or not message["snapshot"], "no checksum:", message)

    def _look_at_bar(self, message):
        """Each is the whole bar of the period: one running at a time, told once more when it is complete, then never changed."""
        bar = {key: message[key] for key in BODY["bar"]}
        start_ns = int(bar["start"]) * 10**6
        expect(bar["period"] == self.period and start_ns % PERIODS_NS[self.period] == 0, self.period, message)
        low, *between, high = [decimal(bar[key]) for key in ("low", "open", "close", "high")]
        expect(all(low <= price <= high for price in between) and decimal(bar["volume"]) > 0, message)
        if self.bar and self.bar["complete"] and int(bar["start"]) == int(self.bar["start"]):
            # Others join the view, or bars of other periods have ended: it is told once more, as it is.
            expect(bar == self.bar, "a complete bar changes, after", self.bar, message)
        elif self.bar and int(bar["start"]) == int(self.bar["start"]):
            expect(bar["open"] == self.bar["open"], "another open than", self.bar, message)
            grows = decimal(bar["volume"]) >= decimal(self.bar["volume"])
            wider = low <= decimal(self.bar["low"]) and high >= decimal(self.bar["high"])
            expect(grows and wider, "a bar that shrinks, after", self.bar, message)
        elif self.bar:
            expect(int(bar["start"]) > int(self.bar["start"]), "an older bar than", self.bar, message)
            # A snapshot may pass over the end of the bar before.
            expect(self.bar["complete"] or message.get("snapshot"), "a bar begins before the end of", self.bar, message)
        self.bar = bar


class Transcript:
    """What one connection heard, checked message by message. ``streams`` and ``finished`` hold the streams.

    ``earlier`` is what the same client heard on the connection before: streams that are resumed go on from there.
    """

    def __init__(self, connection, earlier=None):
        self.name = connection.name
        self.peer = connection.peer
        self.earlier = earlier.streams if earlier else {}
        self.is_conflating = False
        self.was_conflated = False
        self.position = 0
        self.is_binary = connection.protocol == BINARY
        self.requests = connection.requests
        self.streams = {}
        self.finished = []
        self.numbers = {}
        self.counts = collections.Counter()
        self.notices = []
        self.resets = []
        for position, entry in enumerate(connection.log):
            self.position = position
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
        must, may = HEAD | BODY[kind], {"merged", "more", "snapshot"} | BODY_MAY.get(kind, set())
        expect(must <= set(message) <= must | may, "keys of", message)
        expect(message.get("more", True) is True and message.get("snapshot", True) in (True, False), message)
        expect(int(message["ts_ns"]) // 1_000_000 == int(message["timestamp"]), "timestamp of", message)
        stream = self.streams.get((message["symbol"], DATA[kind]))
        expect(stream is not None, "data of a stream that is not subscribed:", message)
        expect(epoch in (None, stream.epoch), "epoch", epoch, "instead of", stream.epoch, message)
        expect(kind != "orders" or message.get("snapshot"), "orders that are no snapshot:", message)
        stream.take(message, self.position, self.was_conflated)
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
            keys(entry, GRANTED | ({"period"} if entry["channel"] == "bars" else set()))
            expect(entry["channel"] in request["channels"], entry)
            has_interval = entry["channel"] in ("quotes", "book", "ticker")
            interval_ms = rounded_up(request.get("interval_ms", 0)) if has_interval else 0
            expect(int(entry["interval_ms"]) == interval_ms, interval_ms, entry)
            expect(entry.get("period", "1m") == request.get("period", "1m") or entry["channel"] != "bars", entry)
            key = entry["symbol"], entry["channel"]
            if key in self.streams:
                self.finished.append(self.streams.pop(key))
            self.streams[key] = Stream(entry, request, self.earlier.get(key))
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
            expect(last is not None, "a heartbeat names a stream before its snapshot:", entry)
            expect(not stream.stale, "a heartbeat names a stream whose snapshot is to come:", entry)
            behind = last <= seq if stream.leaves_out else last == seq
            expect(behind, f"heartbeat says complete up to {seq}, heard up to {last}:", entry)
            stream.complete_to = seq

    def _reset(self, message):
        keys(message, {"type", "symbol", "epoch", "reason"})
        expect(message["reason"] in ("loop", "seek", "restart"), message)
        self.resets.append(message)
        for (symbol, channel), stream in list(self.streams.items()):
            if symbol == message["symbol"]:
                if int(message["epoch"]) == stream.epoch and not stream.messages and message["reason"] == "restart":
                    continue  # Its ``subscribed`` has named this epoch already.
                expect(int(message["epoch"]) > stream.epoch, "epochs only grow:", message)
                entry = {**stream.entry, "epoch": message["epoch"], "seq": "0"}
                self.finished.append(stream)
                snapshot = stream.with_snapshot and channel != "trades"
                self.streams[symbol, channel] = Stream(entry, {"snapshot": snapshot})

    def _gap(self, message):
        keys(message, {"type", "symbol", "channel", "epoch", "from", "to", "count"})
        stream = self.streams.get((message["symbol"], message["channel"]))
        expect(stream is not None, "a gap of a stream that is not subscribed:", message)
        stream.take_gap(message)

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
        if message["code"] in ("conflating", "recovered"):
            expect(self.is_conflating == (message["code"] == "recovered"), "in the wrong order:", message)
            self.is_conflating = message["code"] == "conflating"
            self.was_conflated = True

    def _error(self, message):
        must = {"type", "code", "message", "retry"}
        expect(must <= set(message) <= must | {"id"}, message)
        expect(message["retry"] in (True, False) and message["message"], message)


def keys(message, wanted):
    expect(set(message) == wanted, "keys of", message, "instead of", sorted(wanted))


def rounded_up(interval_ms):
    return next((step for step in INTERVALS_MS if step >= interval_ms), INTERVALS_MS[-1])


def decimal(text):
    """A number to compare with others."""
    return fractions.Fraction(text)


def twins(a, b):
    """Two transcripts of the same streams say the same, message by message, as far as both go. How many by channel."""
    compared = collections.Counter()
    for key in a.streams.keys() & b.streams.keys():
        compared[key[1]] += twin_streams(a.of(*key), b.of(*key))
    for one in a.finished:
        for other in b.finished:
            views = [(stream_key(s), s.depth, s.interval_ms, s.period, s.epoch) for s in (one, other)]
            if views[0] == views[1]:
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


def ledgers(transcript, connections):
    """What the server counted (``/api/v1/connections``) is what this client did. How many streams were compared."""
    compared = 0
    for connection in connections:
        if connection["peer"] != transcript.peer:
            continue
        for theirs in connection["streams"]:
            ours = transcript.streams.get((theirs["symbol"], theirs["channel"]))
            if ours is None or int(theirs["epoch"]) != ours.epoch:
                continue
            counted = {name: int(theirs[name]) for name in ("delivered", "merged", "lost")}
            # What waits for its snapshot has no ledger yet.
            if int(theirs["seq"]) in ours.ledgers:
                expect(ours.ledgers[int(theirs["seq"])] == counted, "the ledgers differ:", theirs, ours.ledgers[int(theirs["seq"])])
                compared += 1
    return compared


def queues(one, other):
    """Two connections hold the same queues in the same order at the last sequence that both reached."""
    end = min(one.last, other.last)
    held = []
    for stream in (one, other):
        orders = tickcast.Orders(stream.state.stream)
        for message in stream.messages:
            if int(message["last_seq"]) <= end:
                orders.apply(message)
        expect(orders.last_seq == end, stream_key(stream), "ends at", orders.last_seq, "instead of", end)
        held.append([orders.side(side) for side in ("bid", "ask")])
    expect(held[0] == held[1], f"queues of {stream_key(one)} at {end} differ")
    return sum(map(len, held[0]))


def add_up(orders, book):
    """The levels of a book are the sums of the queues of its orders."""
    for side, levels in (("bid", book.bids), ("ask", book.asks)):
        sums = collections.Counter()
        for _, price, quantity in orders.side(side):
            sums[price] += quantity
        expect(sums == levels, f"the {side} orders add up to", sums, "instead of", levels)


def bars(stream, trades):
    """The bars of a stream are those of the trades that the connection heard. How many were compared, and were complete."""
    period_ns, numbers = PERIODS_NS[stream.period], stream.entry
    integer = lambda text, key: tickcast.decimal_integer(text, int(numbers[key]))
    running, last, closed_ns, begin = None, None, 0, -1
    messages = list(zip(stream.messages, stream.positions))
    if messages and messages[0][0].get("snapshot"):
        first, begin = messages.pop(0)
        running = bar_integers(first, integer)
        if first["complete"]:
            # None was running: the state is the last one that is complete.
            running, last, closed_ns = None, running, running[0] + period_ns
    left = collections.deque(
        trade for trade, position in zip(trades.messages, trades.positions) if position > begin and not trade.get("snapshot")
    )
    compared = complete = 0
    for message, _ in messages:
        expect(not message.get("snapshot"), "a second snapshot:", message)
        if message["complete"] and running is None:
            # Others join the view, or bars of other periods have ended: it is told once more, as it is.
            expect(bar_integers(message, integer) == last, "another bar than", last, "is told again:", message)
            continue
        if message["complete"]:
            complete += 1
            closed_ns = running[0] + period_ns
        else:
            wanted, trade = bar_integers(message, integer), None
            # One for all the trades of an exchange event.
            for _ in range(int(message["first_seq"]), int(message["last_seq"]) + 1):
                # None where others join the view: it is told once more, as it is.
                if running and running[5] >= wanted[5]:
                    break
                expect(left, "a bar without a trade:", message)
                trade = left.popleft()
                price, quantity = integer(trade["price"], "price_exponent"), integer(trade["quantity"], "quantity_exponent")
                start_ns = max(int(trade["ts_ns"]) // period_ns * period_ns, closed_ns)
                if running is None:
                    running = [start_ns, price, price, price, price, 0]
                expect(start_ns <= running[0], "a trade of a later bar:", trade, message)
                running = [*running[:2], max(running[2], price), min(running[3], price), price, running[5] + quantity]
            expect(trade is None or message["ts_ns"] == trade["ts_ns"], "time of the bar:", message, trade)
        expect(bar_integers(message, integer) == running, "the trades make", running, "instead of", message)
        compared += 1
        if message["complete"]:
            running, last = None, running
    return {"bars": compared, "complete": complete}


def bar_integers(message, integer):
    prices = [integer(message[key], "price_exponent") for key in ("open", "high", "low", "close")]
    return [int(message["start"]) * 10**6, *prices, integer(message["volume"], "quantity_exponent")]
