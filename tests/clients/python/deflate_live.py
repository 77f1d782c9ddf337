"""Everything that a replay says, as one hash: the same with and without compression.

deflate_live.py ADDRESS PROTOCOL on|off    prints `ready` once all streams are granted, then one JSON object at the end
"""

import asyncio
import hashlib
import json
import re
import struct
import sys

import websockets

CHANNELS = ["quotes", "trades", "book", "orders", "ticker", "bars", "status"]
# Bytes of a binary frame's header; a message's publish stamp lies behind its length, kind, sequences and event time.
FRAME_HEADER, SENT = 16, 32


class Digest:
    """Hashes messages of market data, publish stamps apart: no two clients need get them in the same frames."""

    def __init__(self):
        self.sha, self.messages = hashlib.sha256(), 0

    def take(self, message):
        self.sha.update(message)
        self.messages += 1

    def binary(self, frame):
        rest = frame[FRAME_HEADER:]
        while rest:
            (length,) = struct.unpack_from("<I", rest)
            self.take(frame[1:2] + frame[4:8] + rest[:SENT] + rest[SENT + 8 : length])
            rest = rest[length:]

    def text(self, text):
        self.take(re.sub(r'"sent_ns":"\d+",', "", text).encode())


async def main(address, protocol, compression):
    digest, is_ready = Digest(), False
    offered = "deflate" if compression == "on" else None
    async with websockets.connect(
        f"ws://{address}/ws", subprotocols=[protocol], compression=offered, max_size=None
    ) as socket:
        agreed = socket.response.headers.get("Sec-WebSocket-Extensions")
        await socket.send(json.dumps({"op": "subscribe", "symbols": ["*"], "channels": CHANNELS, "snapshot": False}))
        async for frame in socket:
            if isinstance(frame, bytes):
                digest.binary(frame)
                continue
            message = json.loads(frame)
            if "sent_ns" in message:
                digest.text(frame)
            elif message["type"] == "subscribed" and not message["more"] and not is_ready:
                is_ready = True
                print("ready", flush=True)
            elif message["type"] == "notice" and message["code"] == "replay_ended":
                break
    print(json.dumps({"agreed": agreed, "messages": digest.messages, "hash": digest.sha.hexdigest()}))


asyncio.run(main(*sys.argv[1:]))
