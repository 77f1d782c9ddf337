"""A client that keeps the receiver's side of the ledger (docs/delivery.md), stalls or is stopped, and goes on.

    ledger.py stall ADDRESS SECONDS    two readers, one for each encoding, read nothing for so long; a witness reads on
    ledger.py run ADDRESS COUNT        one connection with the streams of COUNT symbols; prints "ready", may be stopped,
                                       and where it was closed meanwhile it resumes

Both hear the market to its end, hold what they were told against what the server says of it, and print a summary as
JSON. The first thing that is not as documented ends the program with exit code 1 and a message.
"""

import asyncio
import collections
import hashlib
import json
import socket
import sys
import time

import tickcast_decode as tickcast
from live_session import BINARY, JSON, PATIENCE, Violation, expect, http_soon
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CHANNELS = ["quotes", "trades", "book", "ticker", "status"]
CHANNEL_OF = {"quote": "quotes", "trade": "trades", "orderbook": "book", "price": "ticker", "status": "status"}
HEAD = {"first_seq", "last_seq", "timestamp", "ts_ns", "sent_ns", "merged", "more", "snapshot"}


class Stream:
    """The ledger of one stream, and the hash of its state at every sequence at which it was known."""

    def __init__(self, entry):
        self.entry = entry
        self.channel = entry["channel"]
        self.epoch = int(entry["epoch"])
        self.start = self.held = int(entry["seq"])
        self.covered = 0
        self.seen = {}
        self.gaps = []
        self.granted(entry, resumed=False)

    def granted(self, entry, resumed):
        """A connection begins, or goes on where the last one ended."""
        self.entry = entry
        self.counts = collections.Counter(delivered=0, merged=0, lost=0)
        if resumed:
            where = (int(entry["epoch"]), int(entry["seq"]))
            expect(where == (self.epoch, self.held), "resumed at", self.held, "and granted", entry)
            return
        self.has_state = self.channel == "trades"
        numbers = {key: int(entry[key]) for key in ("price_exponent", "quantity_exponent")}
        self.book = tickcast.Book(numbers) if self.channel == "book" else None

    def count(self, upto, **counts):
        self.counts.update(counts)
        self.covered += upto - self.held
        self.held = upto

    def take(self, message):
        first, last = int(message["first_seq"]), int(message["last_seq"])
        snapshot = message.get("snapshot", False)
        if self.book:
            self.book.last_seq = self.held if self.has_state else None
            expect(self.book.apply(message), f"gap or wrong checksum, {self.held} is held:", message)
            if snapshot and int(message.get("part", 1)) < int(message.get("parts", 1)):
                return
        if snapshot:
            expect(last >= self.held, f"older than {self.held}:", message)
            if not self.has_state:
                self.start = self.held = last
            else:
                self.count(last, merged=last - self.held)
            self.has_state = True
        else:
            expect(self.has_state and first == self.held + 1 <= last, f"{self.held} is held:", message)
            carried = len(message["bids"]) + len(message["asks"]) if self.book else 1
            merged = max(last - first + 1 - carried, 0)
            expect(int(message.get("merged", 0)) == merged, f"merged is {merged}:", message)
            expect(self.channel != "trades" or merged == 0, "trades are never merged:", message)
            self.count(last, delivered=last - first + 1 - merged, merged=merged)
        self.seen[last] = self.fingerprint(message)

    def fingerprint(self, message):
        """The same wherever the state is the same: of a book its levels, else what the last message said."""
        if self.book:
            state = repr((sorted(self.book.bids.items()), sorted(self.book.asks.items())))
        else:
            state = json.dumps({key: value for key, value in message.items() if key not in HEAD}, sort_keys=True)
        return hashlib.blake2b(state.encode(), digest_size=8).digest()

    def gap(self, message):
        expect(self.channel == "trades", "no gaps here:", message)
        begin, end, count = (int(message[key]) for key in ("from", "to", "count"))
        expect(int(message["epoch"]) == self.epoch, "epoch:", message)
        expect(begin == self.held + 1 <= end and count == end - begin + 1, f"{self.held} is held:", message)
        self.gaps.append((begin, end))
        self.count(end, lost=count)

    def check(self):
        expect(self.covered == self.held - self.start, "not balanced:", self.entry, self.counts)
        if self.channel == "trades":
            missing = {seq for begin, end in self.gaps for seq in range(begin, end + 1)}
            known = missing | self.seen.keys()
            expect(not missing & self.seen.keys(), "a trade that was declared lost came")
            expect(known >= set(range(self.start + 1, self.held + 1)), "a trade is neither here nor declared")


class Ledger:
    """What one client knows, over as many connections as it needs."""

    def __init__(self, address, protocol, symbols):
        self.address = address
        self.protocol = protocol
        self.symbols = symbols
        self.streams = {}
        self.closes = []
        self.connections = 0

    async def connect(self):
        """Opens a connection; streams that are held are resumed."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = self.address.split(":")
        plain.connect((host, int(port)))
        plain.setblocking(False)
        self.peer = "%s:%d" % plain.getsockname()
        self.socket = await connect(
            f"ws://{self.address}/ws", sock=plain, subprotocols=[self.protocol], compression=None, ping_interval=None,
            max_size=None, max_queue=1, open_timeout=PATIENCE,
        )
        self.connections += 1
        self.frames = 0
        self.notices = []
        self.numbers = {}
        resumed = [stream for stream in self.streams.values() if stream.has_state]
        self.wanted = {(stream.entry["symbol"], stream.channel) for stream in resumed}
        cursor = [
            {"symbol": stream.entry["symbol"], "channel": stream.channel, "epoch": stream.epoch, "seq": stream.held}
            for stream in resumed
        ]
        request = {"op": "subscribe", "symbols": self.symbols, "channels": CHANNELS}
        await self.socket.send(json.dumps({**request, "from": cursor} if cursor else request))

    async def read(self, until, patience=PATIENCE):
        """Reads until the condition holds. False: the connection was closed."""
        deadline = time.monotonic() + patience
        while not until():
            left = deadline - time.monotonic()
            try:
                raw = await asyncio.wait_for(self.socket.recv(), left)
            except asyncio.TimeoutError:
                raise Violation(f"{self.protocol}: not within {patience} s, {self.notices}") from None
            except ConnectionClosed:
                self.closes.append([self.socket.close_code, self.socket.close_reason])
                return False
            self.frames += 1
            if isinstance(raw, bytes):
                frame = tickcast.decode_frame(raw, self.numbers)
                for message in frame["messages"]:
                    self.data(frame["channel"], frame["epoch"], tickcast.canonical(message))
            else:
                self.text(tickcast.parse_exact(raw))
        return True

    async def listen_for(self, seconds):
        """Reads for a while."""
        until = time.monotonic() + seconds
        try:
            await self.read(lambda: time.monotonic() >= until, seconds)
        except Violation:
            pass  # Nothing came in the end.

    def text(self, message):
        kind = message["type"]
        if kind in CHANNEL_OF:
            self.data(CHANNEL_OF[kind], None, message)
        elif kind == "subscribed":
            for entry in message["streams"]:
                key = (entry["symbol"], entry["channel"])
                self.numbers[int(entry["instrument"])] = {
                    "symbol": entry["symbol"],
                    "price_exponent": int(entry["price_exponent"]),
                    "quantity_exponent": int(entry["quantity_exponent"]),
                }
                if key in self.wanted:
                    self.streams[key].granted(entry, resumed=True)
                else:
                    self.streams[key] = Stream(entry)
        elif kind == "gap":
            self.streams[message["symbol"], message["channel"]].gap(message)
        elif kind == "heartbeat":
            for entry in message["streams"]:
                stream = self.streams[entry["symbol"], entry["channel"]]
                expect(int(entry["seq"]) == stream.held, f"heartbeat, {stream.held} is held:", entry)
        elif kind == "notice":
            self.notices.append(message["code"])
        else:
            expect(kind == "welcome", message)

    def data(self, channel, epoch, message):
        stream = self.streams[message["symbol"], channel]
        expect(epoch is None or epoch == stream.epoch, "epoch", epoch, stream.epoch)
        stream.take(message)

    def has_ended(self):
        return "replay_ended" in self.notices

    async def balance(self):
        """Reads until what the server says of this connection is what it got."""
        deadline = time.monotonic() + PATIENCE
        while True:
            await self.listen_for(0.3)
            listed = await http_soon(self.address, "/api/v1/connections?streams=true")
            mine = next(entry for entry in listed["connections"] if entry["peer"] == self.peer)
            theirs = {
                (entry["symbol"], entry["channel"]): [int(entry[key]) for key in ("seq", "delivered", "merged", "lost")]
                for entry in mine["streams"]
            }
            ours = {
                key: [stream.held, *(stream.counts[what] for what in ("delivered", "merged", "lost"))]
                for key, stream in self.streams.items()
            }
            if ours == theirs and int(mine["frames"]) == self.frames:
                return
            differ = {key: (ours.get(key), theirs.get(key)) for key in ours if ours[key] != theirs.get(key)}
            frames = (self.frames, mine["frames"])
            expect(time.monotonic() < deadline, "received, and what the server says:", differ, "frames", *frames)

    def sums(self):
        sums = collections.Counter()
        for stream in self.streams.values():
            stream.check()
            sums.update(stream.counts)
        return {**sums, "closes": self.closes, "connections": self.connections}


async def symbols_of(address):
    listed = await http_soon(address, "/api/v1/instruments")
    return [entry["symbol"] for entry in listed["instruments"]]


async def stall(address, seconds):
    symbols = await symbols_of(address)
    witness, *readers = [Ledger(address, protocol, symbols) for protocol in (BINARY, BINARY, JSON)]
    for ledger in (witness, *readers):
        await ledger.connect()
    listening = asyncio.create_task(witness.read(witness.has_ended, PATIENCE + float(seconds)))
    for reader in readers:
        expect(await reader.read(lambda: len(reader.streams) == len(symbols) * len(CHANNELS)), reader.closes)
    await asyncio.sleep(float(seconds))
    recovered = [reader.read(lambda reader=reader: "recovered" in reader.notices) for reader in readers]
    expect(all(await asyncio.gather(*recovered)), *(reader.closes for reader in readers))
    ended = [reader.read(reader.has_ended) for reader in readers]
    expect(all([await listening, *await asyncio.gather(*ended)]), "closed")
    summary = {}
    for reader in readers:
        notices = [notice for notice in reader.notices if notice != "replay_ended"]
        expect(notices[:2] == ["conflating", "recovered"], reader.notices)
    await asyncio.gather(*(ledger.balance() for ledger in (witness, *readers)))
    for reader in readers:
        agreed = collections.Counter()
        for key, stream in reader.streams.items():
            other = witness.streams[key]
            expect(stream.held == other.held, key, "ends at", stream.held, "and the witness's at", other.held)
            for seq, state in stream.seen.items():
                if seq in other.seen:
                    expect(state == other.seen[seq], key, "differs at", seq)
                    agreed[stream.channel] += 1
        summary[reader.protocol] = {**reader.sums(), "agreed": agreed}
    witness.sums()
    return summary


async def run(address, count):
    symbols = (await symbols_of(address))[: int(count)]
    ledger = Ledger(address, BINARY, symbols)
    await ledger.connect()
    expect(await ledger.read(lambda: ledger.frames > 200), ledger.closes)
    print("ready", flush=True)
    while not await ledger.read(ledger.has_ended, 4 * PATIENCE):
        expect(ledger.closes[-1][0] in (1001, 4008), "closed with", ledger.closes)
        await ledger.connect()
    await ledger.balance()
    sums = ledger.sums()
    return {**sums, "covered": sum(stream.held - stream.start for stream in ledger.streams.values())}


def main(mode, *arguments):
    modes = {"stall": stall, "run": run}
    try:
        print(json.dumps(asyncio.run(modes[mode](*arguments))))
    except Violation as violation:
        sys.exit(f"ledger.py {mode}: {violation}")


if __name__ == "__main__":
    main(*sys.argv[1:])
