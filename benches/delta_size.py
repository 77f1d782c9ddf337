#!/usr/bin/env python3
"""What a profile of deltas and varints would need for the same messages: a measurement, there is no such profile.

delta_size.py ws://127.0.0.1:8765/ws [SECONDS]    (needs the Python of tests/clients: .venv/bin/python)

Takes quotes, trades and books of every symbol in tickcast.v1.bin, and for each channel prints bytes a message as sent,
and as they would be if every integer were written as the difference to the same field of the stream's message before
(prices of levels: to the level before), zigzag, seven bits a byte. Frames: their head, a stream's number, a count.
"""

import asyncio
import collections
import json
import struct
import sys
import time

import websockets

CHANNELS = {1: "quotes", 2: "trades", 3: "book"}
BODIES = {1: "<qqqq", 2: "<qqQB7x"}
FRAME, MESSAGE, ORDERBOOK = struct.Struct("<BBHIQ"), struct.Struct("<IBBHQQQQ"), struct.Struct("<IIIHH")


def varint(value):
    """Bytes of a signed integer, zigzag, seven bits a byte."""
    zigzag = value * 2 if value >= 0 else -value * 2 - 1
    return max(1, (zigzag.bit_length() + 6) // 7)


class Stream:
    def __init__(self):
        self.last = {}

    def delta(self, field, value):
        before, self.last[field] = self.last.get(field, 0), value
        return varint(value - before)

    def message(self, message, channel):
        _, _, _, _, first, last, ts_ns, sent_ns = MESSAGE.unpack_from(message)
        # Kind and flags in a byte; the publish stamp against the event's time.
        size = 1 + self.delta("first", first) + varint(last - first) + self.delta("ts", ts_ns) + self.delta("sent", sent_ns - ts_ns)
        body = message[MESSAGE.size :]
        if channel in BODIES:
            return size + sum(self.delta(n, value) for n, value in enumerate(struct.unpack(BODIES[channel], body)))
        bids, asks, checksum, _, _ = ORDERBOOK.unpack_from(body)
        size += varint(bids) + varint(asks) + (4 if checksum else 0)
        for price, quantity in struct.iter_unpack("<qq", body[ORDERBOOK.size :]):
            size += self.delta("price", price) + varint(quantity)
        return size


async def main(url, seconds):
    streams, sent, would, count = collections.defaultdict(Stream), collections.Counter(), collections.Counter(), collections.Counter()
    async with websockets.connect(url, subprotocols=["tickcast.v1.bin"], compression=None, max_size=None) as socket:
        await socket.send(json.dumps({"op": "subscribe", "symbols": ["*"], "channels": list(CHANNELS.values())}))
        end = time.monotonic() + seconds
        async for frame in socket:
            if time.monotonic() > end:
                break
            if not isinstance(frame, bytes):
                continue
            _, channel, messages, instrument, _ = FRAME.unpack_from(frame)
            head = 2 if len(frame) < 126 else 4
            size, rest = 0, frame[FRAME.size :]
            while rest:
                (length,) = struct.unpack_from("<I", rest)
                if rest[5] & 1:
                    size = None
                    break
                size += streams[channel, instrument].message(rest[:length], channel)
                rest = rest[length:]
            if size is None:
                continue
            sent[channel] += head + len(frame)
            would[channel] += 2 + varint(instrument) + varint(messages) + size
            count[channel] += messages
    for channel, name in CHANNELS.items():
        of = max(1, count[channel])
        print(f"{name:<8} {count[channel]:>9} messages  {sent[channel] / of:6.1f} bytes each as sent  {would[channel] / of:6.1f} as deltas")
    total = max(1, count.total())
    print(f"{'all':<8} {total:>9} messages  {sent.total() / total:6.1f} bytes each as sent  {would.total() / total:6.1f} as deltas")


asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5))
