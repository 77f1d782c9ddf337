#!/usr/bin/env python3
"""Makes the seeds in corpus/ anew, byte for byte: tests/fuzz/seeds.py

What tests already hold is not repeated here: golden frames are copied from tests/data/golden. Feed files by the simulated
market (corpus/feed/simulated-*) are plain files, made once by `tickcast simulate --ticks 2 (60) --symbols 1 (3) --seed 7`
behind one byte of flags.
"""

import struct
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
GOLDEN = HERE.parent / "data" / "golden"
DAY_NS = 1_704_844_800_000_000_000


def put(target, name, data):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def handshake():
    lines = {
        "plain": "host:localhost:8765",
        "browser": "origin:http://ticks.example.net:8765\nsec-websocket-extensions:permessage-deflate; client_max_window_bits\n"
        "sec-websocket-protocol:tickcast.v1.bin",
        "listed": "origin:https://example.com\nsec-websocket-protocol:chat, tickcast.v1.json",
        "extension-page": "origin:chrome-extension://abcdef",
        "loopback": "origin:http://127.0.0.1:3000\nsec-websocket-protocol:tickcast.v1.json, tickcast.v1.bin",
        "ipv6": "origin:http://[::1]:5173\nhost:[2001:db8::1]:8765",
        "ipv6-own": "origin:http://[2001:db8::1]:8765\nhost:[2001:db8::1]:8765",
        "own-port": "origin:https://ticks.example.net\nhost:TICKS.example.net:443",
        "foreign": "origin:https://evil.net\nhost:ticks.example.net",
        "doubled": "origin:https://example.com\norigin:https://example.com",
        "window": 'sec-websocket-extensions:permessage-deflate; server_max_window_bits=10; client_max_window_bits="12"',
        "second": "sec-websocket-extensions:permessage-deflate; server_max_window_bits=8, permessage-deflate; "
        "server_no_context_takeover; client_no_context_takeover",
        "two-lines": "sec-websocket-extensions:foo; a=b, ,\nsec-websocket-extensions:permessage-deflate;server_max_window_bits=15",
        "quoted": 'sec-websocket-extensions:permessage-bzip2; q="a\\b", permessage-deflate; server_max_window_bits="1\\1"',
        "wrong": "sec-websocket-version:8\nsec-websocket-key:short\nconnection:close\nupgrade:h2c",
        "next-version": "sec-websocket-protocol:tickcast.v2.bin\nsec-websocket-protocol:tickcast.v1.bin,,",
    }
    for name, text in lines.items():
        put("handshake", name, text.encode())


MASK = bytes([0x37, 0xFA, 0x21, 0x3D])
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def frame(first, payload):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0xFE]) + struct.pack(">H", len(payload))
    return bytes([first]) + length + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def deflated(payload, bits=15, level=9):
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    data = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert data.endswith(b"\0\0\xff\xff")
    return data[:-4]


def reader():
    subscribe = b'{"op":"subscribe","symbols":["BTC-USD"],"channels":["book"]}'
    # RFC 6455, section 5.7, and RFC 7692, section 7.2.3.
    hello = bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    squeezed = bytes([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
    streams = {
        "hello": (0, 3, hello),
        "requests": (0, 4, frame(TEXT, subscribe) + frame(PING, b"p") + frame(TEXT, b'{"op":"list"}') + frame(CLOSE, b"\x03\xe8bye")),
        "fragments": (0, 3, frame(0x01, b"one \xe2") + frame(PING, b"") + frame(0x00, b"\x82") + frame(PONG, b"q") + frame(0x80, b"\xac")),
        "long": (0, 4, frame(TEXT, b"x" * 300)),
        "binary": (2, 4, frame(BINARY, b"\xff\x00") + frame(0x02, b"\xc3") + frame(0x80, b"\x28")),
        "deflate": (1, 4, frame(0xC1, squeezed) + frame(0x41, squeezed[:3]) + frame(PING, b"") + frame(0x80, squeezed[3:])),
        "deflate-binary": (3, 5, frame(0xC2, deflated(subscribe)) + frame(TEXT, b"plain")),
        "bomb": (1, 5, frame(0xC1, deflated(b" " * 60_000))),
        "unmasked": (0, 3, b"\x81\x05hello"),
        "too-long": (0, 3, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00" + MASK),
        "not-minimal": (0, 3, b"\x81\xfe\x00\x05" + MASK + b"hello"),
        "bad-close": (0, 3, frame(CLOSE, b"\x03\xed")),
    }
    for name, (flags, limit, stream) in streams.items():
        put("reader", name, bytes([flags, limit, 20, 90, 150, 220]) + stream)
    frames = [
        (0x01, b"one "), (0x89, b"p"), (0x00, b"two "), (0x80, b"three"), (0x81, b"whole"), (0x8A, b""),
        (0xC1, squeezed), (0x42, b""), (0x80, squeezed), (0x88, b"\x0f\xa0done"),
    ]
    parts = b"".join(bytes([first, len(payload)]) + payload for first, payload in frames)
    put("reader", "framed", bytes([7, 3, 20, 90, 150, 220]) + parts)
    put("reader", "framed-long", bytes([6, 4, 1, 2, 3, 4, 0x81, 204]) + b"abcdefgh" * 20)


def inflate():
    examples = {
        "hello": bytes([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
        "stored": bytes([0x00, 0x05, 0x00, 0xFA, 0xFF]) + b"Hello\x00",
        "final": bytes([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
        "two-blocks": bytes([0xF2, 0x48, 0x05, 0, 0, 0, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]),
        "empty": b"\x00",
        "broken": b"\xff\xff\xff",
        "dynamic": deflated(bytes(n * n // 50 % 256 for n in range(3_000))),
        "bomb": deflated(b"\0" * 300_000),
        "request": deflated(b'{"op":"subscribe","symbols":["BTC-USD","BTC-EUR"],"channels":["book","trades"]}'),
    }
    for name, data in examples.items():
        put("inflate", name, bytes([0, 5, 2]) + data)
    golden = (GOLDEN / "book_parts.bin").read_bytes()
    put("inflate", "there-golden", bytes([0x80, 0, 20, 10, 3]) + golden)
    put("inflate", "there-noise", bytes([0x80, 4, 1, 3, 0]) + bytes(n * 7_919 % 251 for n in range(600)))
    put("inflate", "there-far", bytes([0x80, 0, 255, 255, 15]) + bytes(n * n % 253 for n in range(900)))


def commands():
    requests = {
        "subscribe": '{"op":"subscribe","id":1,"symbols":["BTC-USD","ES*"],"channels":["quotes","trades","book","orders","ticker","bars","status"]}',
        "all": '{"op":"subscribe","id":"a\\u00e9","symbols":["A"],"channels":["book"],"depth":7,"interval_ms":60,"period":"1h",'
        '"snapshot":false,"conflate":"never","from":[{"symbol":"A","channel":"book","epoch":7,"seq":9007199254740991}]}',
        "unsubscribe": '{"op":"unsubscribe","symbols":["BTC-USD"],"channels":["trades"]}',
        "list": ' {"op" : "list", "id" : null}\n',
        "ping": '{"op":"ping","id":-1.5e3}',
        "progress": '{"op":"progress","received":18446744073709551615}',
        "auth": '{"op":"auth","token":"x"}',
        "twice": '{"op":"ping","op":"list"}',
        "unknown": '{"op":"buy","more":[[[{"deep":[]}]]],"n":1e400}',
        "types": '{"op":"subscribe","symbols":{},"channels":[1,null,"\\ud800"],"depth":-1}',
        "missing": '{"op":"subscribe","symbols":["A"],"channels":["book"],"from":[{"symbol":"A"}]}',
        "list-message": "[1,2]",
        "no-json": "{op:list}",
        "empty": "",
    }
    for name, text in requests.items():
        put("commands", name, text.encode())


def decode():
    for path in sorted(GOLDEN.glob("*.bin")):
        put("decode", path.stem, path.read_bytes())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def feed():
    def string(text):
        return struct.pack("<Q", len(text)) + text

    def instrument(symbol):
        return string(symbol) + struct.pack("<bbqqBHI", -2, 0, 1, 1, 0x7F, 0, 7)

    def record(number, kind, **fields):
        values = dict(order=number, price=100 + number, quantity=5, instrument=number % 2, side=1 + number % 2, flags=1, level=0)
        values.update(fields)
        v = values
        return struct.pack("<QQQqqIIiIHBBBBBB", 900 + number, 1_000 + number, v["order"], v["price"], v["quantity"], v["instrument"],
                           number, 3, 0, 1, kind, v["side"], v["flags"], v["level"], 0, 0)

    def block(kind, payload, records, first, length=None):
        tail = struct.pack("<BBHIIIQQQ", kind, 0, 0, records, len(payload), len(payload), first, 1_000, 2_000) + payload
        return b"TKBK" + struct.pack("<I", crc32c(tail)) + tail

    description = string(b"by hand") + string(b"a seed") + struct.pack("<Q", 2) + instrument(b"A") + instrument(b"B")
    rest = struct.pack("<HHII", 1, 0, len(description), 0) + description
    start = b"TICKFEED" + struct.pack("<I", crc32c(rest)) + rest

    def file(batches):
        out, entries, kinds, first = start, [], {}, 0
        for records in batches:
            part = block(1, b"".join(records), len(records), first)
            entries.append(struct.pack("<QQQQII", len(out), first, 1_000, 2_000, len(part), len(records)))
            for one in records:
                kinds[one[58]] = kinds.get(one[58], 0) + 1
            out += part
            first += len(records)
        index = struct.pack("<QQ", first, len(kinds)) + b"".join(struct.pack("<BQ", *one) for one in sorted(kinds.items()))
        index += struct.pack("<Q", len(entries)) + b"".join(entries)
        part = block(2, index, 0, first)
        trailer = struct.pack("<IQ", len(part), len(out))
        return out + part + b"TICKDONE" + struct.pack("<I", crc32c(trailer)) + trailer, len(out)

    absent = -(1 << 63)
    orders = [record(n, 1) for n in range(4)]
    changes = [record(4, 3, order=1, price=120), record(5, 2, order=2, quantity=2), record(6, 4, order=3), record(7, 5), record(8, 6), record(9, 7)]
    levels = [record(10, 8), record(11, 9, level=1), record(12, 9, quantity=0, price=absent), record(13, 10, level=2), record(14, 11)]
    whole, index_at = file([orders, changes + levels])
    put("feed", "whole", b"\x01" + whole)
    put("feed", "empty", b"\x01" + file([])[0])
    put("feed", "no-index", b"\x01" + whole[:index_at])
    put("feed", "cut", b"\x01" + whole[: index_at - 30])
    put("feed", "untouched", b"\x00" + whole)
    large = [record(n, kind, price=(1 << 63) - 1 - n, quantity=(1 << 63) - 1, instrument=0) for n, kind in enumerate([1, 1, 5, 5, 8, 9])]
    put("feed", "large", b"\x01" + file([large])[0])


def dbn():
    def symbol(text, length):
        return text.encode().ljust(length, b"\0")

    def metadata(version, schema, mapped=True, ts_out=0):
        length = 22 if version == 1 else 71
        out = b"XNAS.ITCH".ljust(16, b"\0") + struct.pack("<HQQQ", schema, DAY_NS, (1 << 64) - 1, 0)
        out += struct.pack("<Q", 2) if version == 1 else b""
        out += bytes([1, 0, ts_out]) + (struct.pack("<H", length) + bytes(53) if version > 1 else bytes(47))
        out += struct.pack("<I", 0) + struct.pack("<I", 1) + symbol("AAPL", length) + struct.pack("<II", 0, 0)
        if mapped:
            out += struct.pack("<I", 1) + symbol("AAPL", length) + struct.pack("<I", 2)
            out += struct.pack("<II", 20240110, 20240111) + symbol("7", length)
            out += struct.pack("<II", 20240111, 20240112) + symbol("8", length)
        else:
            out += struct.pack("<I", 0)
        if version == 3:
            out += bytes(-len(out) % 8)
        return b"DBN" + bytes([version]) + struct.pack("<I", len(out)) + out

    def head(words, rtype, instrument, time):
        return struct.pack("<BBHIQ", words, rtype, 2, instrument, time)

    def mbo(number, action, side, flags=128, price=1_000_000_000, size=3):
        time = DAY_NS + number * 1_000
        body = struct.pack("<QqIBBccQiI", 40 + number // 2, price, size, flags, 0, action, side, time, 5, number)
        return head(14, 0xA0, 7, time) + body

    def market(number, rtype, levels, action=b"T", side=b"B", flags=128):
        time = DAY_NS + number * 1_000
        body = struct.pack("<qIccBBQiI", 1_000_000_000, 3, action, side, flags, 0, time, 5, number)
        body += b"".join(struct.pack("<qqIIII", 10**9 - n, 10**9 + n, 1, 2, 1, 1) for n in range(levels))
        return head((16 + len(body)) // 4, rtype, 7, time) + body

    orders = [mbo(0, b"R", b"N", 40), mbo(1, b"A", b"B"), mbo(2, b"M", b"B", 0), mbo(3, b"F", b"A"), mbo(4, b"C", b"B"), mbo(5, b"T", b"N", 0)]
    none = (1 << 63) - 1
    orders.append(mbo(6, b"N", b"N", 0, none, 0xFFFFFFFF))
    plain = {}
    for version in (1, 2, 3):
        plain[f"mbo-v{version}"] = metadata(version, 0) + b"".join(orders)
    plain["trades"] = metadata(1, 4, False) + market(0, 0, 0) + market(1, 0, 0, side=b"N", flags=0)
    plain["mbp-1"] = metadata(2, 1) + market(0, 1, 1) + market(1, 1, 1, b"A", b"A", 0)
    plain["mbp-10"] = metadata(3, 2) + market(0, 10, 10, b"C", b"N")
    plain["no-records"] = metadata(2, 0)
    plain["cut"] = plain["mbo-v2"][:-20]
    plain["mixed"] = metadata(2, 0xFFFF)
    plain["live"] = metadata(2, 0, ts_out=1)
    plain["wrong-type"] = metadata(2, 0) + market(0, 0, 0)
    plain["header-only"] = b"DBN\x02\x64\x00\x00\x00"
    for name, data in plain.items():
        put("dbn", name, data)
    # A zstd frame (RFC 8878) of one raw block: mutations reach what is in it.
    data = plain["mbo-v1"]
    raw = bytes([0x60]) + struct.pack("<H", len(data) - 256) + struct.pack("<I", len(data) << 3 | 1)[:3] + data
    put("dbn", "zstd", b"\x28\xb5\x2f\xfd" + raw)


def imports():
    def kind(name):
        return bytes([("coinbase", "kraken", "binance", "itch", "lobster", "tardis").index(name)])

    def captured(name, file, *messages):
        lines = [f"{1_704_844_800 + n}.25: {message}\n" for n, message in enumerate(messages)]
        put("imports", file, kind(name) + "".join(lines).encode())

    def ordered(kind, n, body):
        message = kind + struct.pack(">HH", 1, 0) + (34_200_000_000_000 + n).to_bytes(6, "big") + body
        return struct.pack(">H", len(message)) + message

    captured("coinbase", "coinbase",
             '{"type":"snapshot","product_id":"A-B","asks":[["1.5","2"],["1.75","1"]],"bids":[["1.25","3"]]}',
             '{"type":"l2update","product_id":"A-B","changes":[["buy","1.25","0"],["sell","1.5","0.125"]],"time":"2024-01-10T00:00:01.123456Z"}',
             '{"type":"match","trade_id":7,"maker_order_id":"x","taker_order_id":"y","side":"sell","size":"0.5","price":"1.5",'
             '"product_id":"A-B","sequence":9,"time":"2024-01-10T00:00:02.5Z"}',
             '{"type":"ticker","product_id":"A-B"}')
    captured("kraken", "kraken",
             '{"channelID":1,"channelName":"book-10","event":"subscriptionStatus","pair":"A/B","status":"subscribed","subscription":{"depth":10,"name":"book"}}',
             '[1,{"as":[["1.50000","2.00000000","1704844800.000001"]],"bs":[["1.25000","3.00000000","1704844800.000002"]]},"book-10","A/B"]',
             '[1,{"a":[["1.50000","0.00000000","1704844801.000001"]]},{"b":[["1.30000","1.00000000","1704844801.000001"]],"c":"329229906"},"book-10","A/B"]',
             '[2,[["1.3","0.5","1704844801.5","b","m",""]],"trade","A/B"]',
             '{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[{"price":1.25,"qty":3.0}],"asks":[],"checksum":4031980774}]}')
    depth = '{"e":"depthUpdate","E":1704844800%03d,"s":"AB","U":%d,"u":%d%s,"b":[["1.25","%d"]],"a":[]}'
    captured("binance", "binance-spot", depth % (1, 11, 12, "", 3), '{"lastUpdateId":11,"bids":[["1.2","1"]],"asks":[["1.5","2"]]}',
             depth % (2, 13, 15, "", 0), '{"e":"trade","E":1704844800003,"s":"AB","t":1,"p":"1.5","q":"0.1","T":1704844800003,"m":true}')
    captured("binance", "binance-futures", '{"lastUpdateId":11,"E":1,"T":1,"bids":[["1.2","1"]],"asks":[["1.5","2"]]}',
             depth % (1, 11, 12, ',"T":1704844800001,"pu":10', 3), '{"stream":"ab@depth","data":' + depth % (2, 13, 15, ',"pu":12', 0) + "}")
    stock = b"AAPL    "
    orders = [
        ordered(b"R", 0, stock + b"QN" + struct.pack(">I", 100) + b"NC" + b"Z " + b"PNN1N" + struct.pack(">I", 0) + b"N"),
        ordered(b"H", 1, stock + b"T\0    "), ordered(b"A", 2, struct.pack(">QcI8sI", 1, b"B", 100, stock, 15_000)),
        ordered(b"F", 3, struct.pack(">QcI8sI4s", 2, b"S", 50, stock, 15_100, b"ABCD")), ordered(b"E", 4, struct.pack(">QIQ", 1, 10, 9)),
        ordered(b"C", 5, struct.pack(">QIQcI", 2, 10, 10, b"Y", 15_050)), ordered(b"X", 6, struct.pack(">QI", 1, 5)),
        ordered(b"U", 7, struct.pack(">QQII", 1, 3, 40, 15_010)), ordered(b"D", 8, struct.pack(">Q", 3)),
        ordered(b"P", 9, struct.pack(">QcI8sIQ", 0, b"B", 7, stock, 15_020, 11)), ordered(b"Q", 10, struct.pack(">Q8sIQc", 70, stock, 15_000, 12, b"O")),
    ]
    put("imports", "itch", kind("itch") + b"".join(orders))
    rows = "34200.1,1,11,100,5859400,1\n34200.2,4,11,40,5859400,1\n34200.3,2,11,10,5859400,1\n34200.4,5,0,7,5859500,-1\n34200.5,3,11,50,5859400,1\n34201,7,0,0,-1,-1\n"
    put("imports", "lobster", kind("lobster") + rows.encode())
    start = "exchange,symbol,timestamp,local_timestamp,"
    row = "deribit,AB,1704844800000000,170484480000%04d,"
    put("imports", "tardis-levels", kind("tardis") + (start + "is_snapshot,side,price,amount\n" + (row % 1) + "true,bid,1.25,3\n" + (row % 1) + "true,ask,1.5,2\n"
        + (row % 2) + "false,bid,1.25,0\n").encode())
    put("imports", "tardis-trades", kind("tardis") + (start + "id,side,price,amount\n" + (row % 1) + "7,buy,1.25,3\n").encode())
    put("imports", "tardis-quotes", kind("tardis") + (start + "ask_amount,ask_price,bid_price,bid_amount\n" + (row % 1) + "1,1.5,1.25,3\n").encode())


for make in (handshake, reader, inflate, commands, decode, feed, dbn, imports):
    make()
