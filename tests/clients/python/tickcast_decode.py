"""Decodes Tickcast's binary frames. Written from docs/protocol.md alone; Python's standard library only.

``decode_frame(payload, streams)`` gives the shape of the JSON messages, with every price and quantity as an exact
decimal string. ``parse_exact(text)`` and ``canonical(value)`` bring JSON text and decoded messages into one form, so
that the two encodings can be compared. ``Book`` keeps one book right, ``Orders`` the orders of one instrument.
"""

import json
import struct

FRAME = struct.Struct("<BBHIQ")
MESSAGE = struct.Struct("<IBBHQQQQ")
QUOTE = struct.Struct("<qqqq")
TRADE = struct.Struct("<qqQB7x")
ORDERBOOK = struct.Struct("<IIIHH")
LEVEL = struct.Struct("<qq")
ORDER = struct.Struct("<QqqqBB6x")
ORDERS = struct.Struct("<IIHH4x")
RESTING_ORDER = struct.Struct("<Qqq")
PRICE = struct.Struct("<qqqq")
BAR = struct.Struct("<QqqqqqBB6x")
STATUS = struct.Struct("<B7x")

VERSION = 1
SNAPSHOT, LAST, CHECKSUM = 1, 2, 4
ABSENT = -(2**63)
CHANNELS = {1: "quotes", 2: "trades", 3: "book", 4: "orders", 5: "ticker", 6: "bars", 7: "status"}
AGGRESSORS = {0: "none", 1: "buy", 2: "sell"}
SIDES = {1: "bid", 2: "ask"}
ACTIONS = {1: "add", 2: "modify", 3: "cancel", 4: "execute", 5: "clear"}
PERIODS = {0: "1s", 1: "1m", 2: "5m", 3: "1h"}
STATUSES = {1: "trading", 2: "halted", 3: "auction", 4: "closed"}


class DecodeError(ValueError):
    """The bytes are no frame of market data."""


def decimal_text(value, exponent):
    """The integer times ten to the exponent: exact, without exponent and trailing zeros. None for what is absent."""
    if value == ABSENT:
        return None
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    if exponent >= 0:
        return sign + digits + ("0" * exponent if value else "")
    digits = digits.rjust(1 - exponent, "0")
    whole, fraction = digits[:exponent], digits[exponent:].rstrip("0")
    return sign + whole + ("." + fraction if fraction else "")


def decimal_integer(text, exponent):
    """The integer of an exact decimal at an exponent: the way back."""
    if text is None:
        return ABSENT
    whole, _, fraction = text.partition(".")
    if exponent >= 0:
        return int(whole) // 10**exponent
    return int(whole + fraction.ljust(-exponent, "0"))


def decode_frame(payload, streams):
    """Decodes one binary frame.

    ``streams`` has for each instrument's number the object of ``subscribed`` (``symbol``, ``price_exponent``,
    ``quantity_exponent``). Messages of an unknown kind (order action, bar period) are left out.
    """
    payload = bytes(payload)
    if len(payload) < FRAME.size:
        raise DecodeError(f"frame of {len(payload)} bytes; at least {FRAME.size} are needed")
    version, channel, count, instrument, epoch = FRAME.unpack_from(payload)
    if version != VERSION:
        raise DecodeError(f"frame version {version}; this decoder reads version {VERSION}")
    stream = streams.get(instrument)
    if stream is None:
        raise DecodeError(f"instrument {instrument} was not subscribed")
    messages = []
    offset = FRAME.size
    for _ in range(count):
        if len(payload) - offset < MESSAGE.size:
            raise DecodeError(f"message at {offset} is cut short")
        length = int.from_bytes(payload[offset : offset + 4], "little")
        if length % 8 or length < MESSAGE.size or length > len(payload) - offset:
            raise DecodeError(f"message at {offset} has length {length}, {len(payload) - offset} bytes are there")
        message = decode_message(payload[offset : offset + length], stream)
        if message is not None:
            messages.append(message)
        offset += length
    if offset != len(payload):
        raise DecodeError(f"{len(payload) - offset} bytes after the last message")
    return {
        "channel": CHANNELS.get(channel),
        "instrument": instrument,
        "epoch": epoch,
        "messages": messages,
    }


def decode_message(message, stream):
    """Decodes one message, header included. None for a kind, action or period that is not known."""
    _, kind, flags, _, first_seq, last_seq, ts_ns, sent_ns = MESSAGE.unpack_from(message)
    decode_body = BODIES.get(kind)
    if decode_body is None:
        return None
    try:
        body, carried = decode_body(message[MESSAGE.size :], flags, stream)
    except struct.error as error:
        raise DecodeError(f"message of kind {kind} is too short: {error}") from error
    if body is None:
        return None
    decoded = {
        "symbol": stream["symbol"],
        "first_seq": first_seq,
        "last_seq": last_seq,
        "timestamp": ts_ns // 1_000_000,
        "ts_ns": str(ts_ns),
        "sent_ns": str(sent_ns),
    }
    snapshot = bool(flags & SNAPSHOT)
    merged = 0 if snapshot else last_seq - first_seq + 1 - carried
    if merged > 0:
        decoded["merged"] = merged
    if not flags & LAST:
        decoded["more"] = True
    if snapshot:
        decoded["snapshot"] = True
    return {**decoded, **body}


def quote(body, _flags, stream):
    bid, bid_quantity, ask, ask_quantity = QUOTE.unpack_from(body)
    return {
        "type": "quote",
        "bid": decimal_text(bid, stream["price_exponent"]),
        "bid_quantity": decimal_text(bid_quantity, stream["quantity_exponent"]),
        "ask": decimal_text(ask, stream["price_exponent"]),
        "ask_quantity": decimal_text(ask_quantity, stream["quantity_exponent"]),
    }, 1


def trade(body, _flags, stream):
    price, quantity, trade_id, aggressor = TRADE.unpack_from(body)
    return {
        "type": "trade",
        "price": decimal_text(price, stream["price_exponent"]),
        "quantity": decimal_text(quantity, stream["quantity_exponent"]),
        "aggressor": AGGRESSORS.get(aggressor, "none"),
        "trade_id": str(trade_id) if trade_id else None,
    }, 1


def orderbook(body, flags, stream):
    bids, asks, checksum, part, parts = ORDERBOOK.unpack_from(body)
    if len(body) < ORDERBOOK.size + (bids + asks) * LEVEL.size:
        raise DecodeError(f"{bids} bids and {asks} asks do not fit in {len(body)} bytes")
    levels = [
        [
            decimal_text(price, stream["price_exponent"]),
            decimal_text(quantity, stream["quantity_exponent"]),
        ]
        for price, quantity in (
            LEVEL.unpack_from(body, ORDERBOOK.size + i * LEVEL.size) for i in range(bids + asks)
        )
    ]
    decoded = {
        "type": "orderbook",
        "snapshot": bool(flags & SNAPSHOT),
        "bids": levels[:bids],
        "asks": levels[bids:],
    }
    if flags & CHECKSUM:
        decoded["checksum"] = checksum
    if parts > 1:
        decoded["part"] = part
        decoded["parts"] = parts
    return decoded, bids + asks


def order(body, _flags, stream):
    order_id, price, quantity, executed, action, side = ORDER.unpack_from(body)
    if action not in ACTIONS:
        return None, 0
    decoded = {
        "type": "order",
        "action": ACTIONS[action],
        "order_id": None if ACTIONS[action] == "clear" else str(order_id),
        "side": SIDES.get(side),
        "price": decimal_text(price, stream["price_exponent"]),
        "quantity": decimal_text(quantity, stream["quantity_exponent"]),
    }
    if executed > 0:
        decoded["executed"] = decimal_text(executed, stream["quantity_exponent"])
    return decoded, 1


def orders(body, _flags, stream):
    bids, asks, part, parts = ORDERS.unpack_from(body)
    if len(body) < ORDERS.size + (bids + asks) * RESTING_ORDER.size:
        raise DecodeError(f"{bids} bids and {asks} asks do not fit in {len(body)} bytes")
    decoded = {"type": "orders", "orders": []}
    for i in range(bids + asks):
        order_id, price, quantity = RESTING_ORDER.unpack_from(body, ORDERS.size + i * RESTING_ORDER.size)
        decoded["orders"].append(
            [
                str(order_id),
                "bid" if i < bids else "ask",
                decimal_text(price, stream["price_exponent"]),
                decimal_text(quantity, stream["quantity_exponent"]),
            ]
        )
    if parts > 1:
        decoded["part"] = part
        decoded["parts"] = parts
    return decoded, 1


def bar(body, _flags, stream):
    start_ns, *prices, volume, period, complete = BAR.unpack_from(body)
    if period not in PERIODS:
        return None, 0
    names = ("open", "high", "low", "close")
    return {
        "type": "bar",
        "period": PERIODS[period],
        "start": start_ns // 1_000_000,
        **{name: decimal_text(price, stream["price_exponent"]) for name, price in zip(names, prices)},
        "volume": decimal_text(volume, stream["quantity_exponent"]),
        "complete": complete != 0,
    }, 1


def price(body, _flags, stream):
    bid, ask, last, volume = PRICE.unpack_from(body)
    return {
        "type": "price",
        "bid": decimal_text(bid, stream["price_exponent"]),
        "ask": decimal_text(ask, stream["price_exponent"]),
        "last": decimal_text(last, stream["price_exponent"]),
        "volume": decimal_text(volume, stream["quantity_exponent"]),
    }, 1


def status(body, _flags, _stream):
    (number,) = STATUS.unpack_from(body)
    return {"type": "status", "status": STATUSES.get(number)}, 1


BODIES = {1: quote, 2: trade, 3: orderbook, 4: order, 5: price, 6: bar, 7: status, 8: orders}


def parse_exact(text):
    """Reads JSON with every number as its text, so that nothing is rounded."""
    return json.loads(text, parse_int=str, parse_float=str)


def canonical(value):
    """The same form from decoded messages: every number as its text."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [canonical(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F63B78 if byte & 1 else byte >> 1
        table.append(byte)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Book:
    """One book, kept by the rules of "How to keep a book right".

    ``bids`` and ``asks`` map integer prices to integer quantities.
    """

    def __init__(self, stream):
        self.stream = stream
        self.bids = {}
        self.asks = {}
        self.last_seq = None
        self._parts = None

    def apply(self, message):
        """Takes one ``orderbook`` message, decoded or read by ``parse_exact``. False: a gap, subscribe again."""
        first, last = int(message["first_seq"]), int(message["last_seq"])
        if message["snapshot"]:
            if int(message.get("part", 1)) == 1:
                self._parts = ({}, {})
            if self._parts is None:
                return False
            self._set(self._parts, message)
            if int(message.get("part", 1)) == int(message.get("parts", 1)):
                (self.bids, self.asks), self._parts, self.last_seq = self._parts, None, last
                if "checksum" in message and int(message["checksum"]) != self.checksum():
                    return False
            return True
        if self.last_seq is None:
            return False
        if last <= self.last_seq:
            return True
        if first > self.last_seq + 1:
            return False
        self._set((self.bids, self.asks), message)
        self.last_seq = last
        return True

    def levels(self, depth=None):
        """Bids and asks as ``[price, quantity]`` in exact decimal text, best first."""
        return [
            [
                [
                    decimal_text(price, self.stream["price_exponent"]),
                    decimal_text(quantity, self.stream["quantity_exponent"]),
                ]
                for price, quantity in levels[:depth]
            ]
            for levels in self._best_first()
        ]

    def checksum(self, depth=10):
        """CRC32C of the best min(10, depth) levels a side."""
        bids, asks = (levels[: min(10, depth)] for levels in self._best_first())
        return crc32c(b"".join(LEVEL.pack(*level) for level in bids + asks))

    def _best_first(self):
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())

    def _set(self, sides, message):
        for side, levels in zip(sides, (message["bids"], message["asks"])):
            for price, quantity in levels:
                price = decimal_integer(price, self.stream["price_exponent"])
                quantity = decimal_integer(quantity, self.stream["quantity_exponent"])
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)


class Orders:
    """The orders of one instrument, kept by the rules of "How to keep the orders right".

    ``orders`` maps identifiers to ``(side, price, quantity)``, in the order in which they joined their queues.
    """

    def __init__(self, stream):
        self.stream = stream
        self.orders = {}
        self.last_seq = None
        self._parts = None

    def apply(self, message):
        """Takes one ``orders`` or ``order`` message. False: a gap, subscribe again."""
        first, last = int(message["first_seq"]), int(message["last_seq"])
        if message["type"] == "orders":
            if int(message.get("part", 1)) == 1:
                self._parts = {}
            if self._parts is None:
                return False
            for order_id, *rest in message["orders"]:
                self._parts[order_id] = self._order(*rest)
            if int(message.get("part", 1)) == int(message.get("parts", 1)):
                self.orders, self._parts, self.last_seq = self._parts, None, last
            return True
        if self.last_seq is None:
            return False
        if last <= self.last_seq:
            return True
        if first > self.last_seq + 1:
            return False
        self.last_seq = last
        if message["action"] == "clear":
            self.orders = {}
            return True
        order_id, action = message["order_id"], message["action"]
        order = self._order(message["side"], message["price"], message["quantity"])
        _, price, quantity = order
        if action in ("cancel", "execute"):
            if quantity == 0:
                del self.orders[order_id]
                return True
        elif action == "modify":
            _, old_price, old_quantity = self.orders[order_id]
            if price != old_price or quantity > old_quantity:
                del self.orders[order_id]
        # A key that is there keeps its place, one that is not joins the end.
        self.orders[order_id] = order
        return True

    def side(self, side):
        """Identifier, price and quantity of each order of a side, in price-time priority."""
        of_side = [(order_id, price, quantity) for order_id, (its, price, quantity) in self.orders.items() if its == side]
        # Sorting keeps the order of those that are equal.
        return sorted(of_side, key=lambda order: -order[1] if side == "bid" else order[1])

    def _order(self, side, price, quantity):
        return (
            side,
            decimal_integer(price, self.stream["price_exponent"]),
            decimal_integer(quantity, self.stream["quantity_exponent"]),
        )
