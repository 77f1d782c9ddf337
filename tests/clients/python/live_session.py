"""Connections to a running server that keep all they hear, and plain HTTP. ``live.py`` drives them."""

import asyncio
import contextlib
import json
import urllib.request

import tickcast_decode as tickcast
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

JSON, BINARY = "tickcast.v1.json", "tickcast.v1.bin"

# Longer than anything may take, on a machine that is busy with something else.
PATIENCE = 60


class Violation(Exception):
    """The server did what docs/protocol.md does not allow."""


def expect(condition, *what):
    if not condition:
        raise Violation(" ".join(str(part)[:2000] for part in what))


class Connection:
    """One connection. ``log`` holds in order what came: text as objects read exactly, binary messages as bytes."""

    def __init__(self, socket, name):
        self.socket = socket
        self.name = name
        self.address = "%s:%d" % socket.remote_address[:2]
        self.peer = "%s:%d" % socket.local_address[:2]
        self.protocol = socket.subprotocol
        self.log = []
        self.requests = {}
        self.replies = {}
        self.messages = self.trades = 0
        self.heartbeats = 0
        self.notices = set()
        self.ended = False
        self.pause_s = 0
        # Messages, text and binary.
        self.received = 0
        self._reports = None
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, address, protocol=None, **options):
        subprotocols = [protocol] if protocol else None
        socket = await connect(
            f"ws://{address}/ws", subprotocols=subprotocols, compression=None, ping_interval=None, max_size=None,
            open_timeout=PATIENCE, **options,
        )
        expect(socket.subprotocol == protocol, "subprotocol", socket.subprotocol, "instead of", protocol)
        connection = cls(socket, protocol or "no subprotocol")
        await connection.until(lambda: connection.log, "welcome")
        return connection

    async def _read(self):
        try:
            while True:
                await self._may_read.wait()
                raw = await self.socket.recv()
                self.received += 1
                if isinstance(raw, str):
                    raw = tickcast.parse_exact(raw)
                    self._note(raw)
                else:
                    self.messages += 1
                self.log.append(raw)
                self._news.set()
                if self.pause_s and self.messages % 64 == 0:
                    await asyncio.sleep(self.pause_s)
        except ConnectionClosed:
            self.ended = True
            self._news.set()

    def _note(self, message):
        kind = message["type"]
        self.heartbeats += kind == "heartbeat"
        self.messages += kind in DATA
        self.trades += kind == "trade"
        if kind == "notice":
            self.notices.add(message["code"])
        if "id" in message and not message.get("more"):
            self.replies[message["id"]] = message

    async def until(self, condition, what):
        """Waits until the condition holds; it is looked at whenever something has come."""

        async def wait():
            while not condition():
                expect(not self.ended, self.name, "was closed with", self.close, "while waiting for", what)
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(wait(), PATIENCE)
        except asyncio.TimeoutError:
            raise Violation(f"{self.name}: no {what} within {PATIENCE} s") from None

    async def request(self, identifier, **request):
        """Sends a request and waits for the last page of what answers it."""
        # parse_exact reads numbers as text.
        self.requests[str(identifier)] = request
        await self.socket.send(json.dumps({"id": identifier, **request}))
        await self.until(lambda: str(identifier) in self.replies, f"reply to {request}")
        return self.replies[str(identifier)]

    async def progress(self, received):
        await self.socket.send(json.dumps({"op": "progress", "received": received}))

    def report(self):
        """From now on reports its progress, as the document advises."""

        async def report():
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.progress(self.received)
                    await asyncio.sleep(0.1)

        self._reports = asyncio.create_task(report())

    def stand_still(self):
        """Reads nothing until it is to go on."""
        self._may_read.clear()

    def go_on(self):
        self._may_read.set()

    async def heard(self, kind, text=None):
        """Sends a text as it is, and waits for the next message of that type."""
        before = len(self.log)
        if text is not None:
            await self.socket.send(text)
        found = lambda: [entry for entry in self.log[before:] if isinstance(entry, dict) and entry["type"] == kind]
        await self.until(found, f"{kind} after {text}")
        return found()[0]

    async def until_closed(self):
        await asyncio.wait_for(asyncio.shield(self._reader), PATIENCE)

    async def leave(self):
        await self.socket.close()
        await self._reader

    @property
    def close(self):
        return self.socket.close_code, self.socket.close_reason


DATA = {
    "quote": "quotes",
    "trade": "trades",
    "orderbook": "book",
    "order": "orders",
    "orders": "orders",
    "price": "ticker",
    "bar": "bars",
    "status": "status",
}


def http(address, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(f"http://{address}{path}", data=data, timeout=PATIENCE) as answer:
        return tickcast.parse_exact(answer.read().decode())


async def http_soon(address, path, body=None):
    return await asyncio.to_thread(http, address, path, body)
