#!/usr/bin/env python3
"""What JSON messages of one topic and one publication would gain from sharing a frame as an array, compressed once for all.

json_arrays.py ws://127.0.0.1:8765/ws [SECONDS]    (needs the Python of tests/clients: .venv/bin/python)

Takes quotes, trades and books of every symbol in tickcast.v1.json, uncompressed. What was published together has one
publish stamp: that much, of one symbol and channel, could be one array. Prints bytes a message as sent, as `shared` sends
them (level 1, no context, from 512 bytes on), and as arrays compressed by the same rule.
"""

import asyncio
import collections
import json
import re
import sys
import time
import zlib

import websockets

COMPRESSED_FROM = 512
STAMP = re.compile(r'"sent_ns":"(\d+)"')


def head(size):
    return 2 if size < 126 else 4 if size < 65536 else 10


def shared(payload):
    """Bytes of a frame that is compressed where that is worth it."""
    size = len(payload)
    if size >= COMPRESSED_FROM:
        compress = zlib.compressobj(1, zlib.DEFLATED, -15)
        size = min(size, len(compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)) - 4)
    return head(size) + size


async def main(url, seconds):
    groups = collections.defaultdict(list)
    async with websockets.connect(url, subprotocols=["tickcast.v1.json"], compression=None, max_size=None) as socket:
        await socket.send(json.dumps({"op": "subscribe", "symbols": ["*"], "channels": ["quotes", "trades", "book"]}))
        end = time.monotonic() + seconds
        async for text in socket:
            if time.monotonic() > end:
                break
            if not (stamp := STAMP.search(text)):
                continue
            message = json.loads(text)
            if not message.get("snapshot"):
                groups[message["type"], message["symbol"], stamp[1]].append(text.encode())
    messages = [message for group in groups.values() for message in group]
    count = max(1, len(messages))
    plain = sum(head(len(message)) + len(message) for message in messages) / count
    alone = sum(map(shared, messages)) / count
    arrays = sum(shared(group[0] if len(group) == 1 else b"[" + b",".join(group) + b"]") for group in groups.values()) / count
    print(
        f"{count} messages, {count / max(1, len(groups)):.2f} to a group: {plain:.1f} bytes each as sent, {alone:.1f} shared, "
        f"{arrays:.1f} shared as arrays"
    )


asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5))
