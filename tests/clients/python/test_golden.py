"""The golden files, read by the Python decoder: ``python3 -m unittest discover -s tests/clients/python``."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tickcast_decode as tickcast  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[2] / "data" / "golden"


class Golden(unittest.TestCase):
    def setUp(self):
        self.frames = json.loads((GOLDEN / "expected.json").read_text())["frames"]
        self.assertGreaterEqual(len(self.frames), 10)

    def each(self):
        for expected in self.frames:
            with self.subTest(expected["name"]):
                payload = (GOLDEN / f"{expected['name']}.bin").read_bytes()
                streams = {expected["stream"]["instrument"]: expected["stream"]}
                yield expected, payload, streams

    def test_every_file_is_expected(self):
        names = sorted(expected["name"] for expected in self.frames)
        self.assertEqual(names, sorted(path.stem for path in GOLDEN.glob("*.bin")))

    def test_binary_frames(self):
        for expected, payload, streams in self.each():
            self.assertEqual(tickcast.decode_frame(payload, streams), expected["frame"])

    def test_json_says_the_same(self):
        for expected, payload, streams in self.each():
            lines = (GOLDEN / f"{expected['name']}.jsonl").read_text().splitlines()
            decoded = tickcast.decode_frame(payload, streams)["messages"]
            self.assertEqual([tickcast.parse_exact(line) for line in lines], tickcast.canonical(decoded))

    def test_a_frame_cut_short_is_an_error(self):
        for _, payload, streams in self.each():
            for end in range(len(payload)):
                with self.assertRaises(tickcast.DecodeError):
                    tickcast.decode_frame(payload[:end], streams)
            with self.assertRaises(tickcast.DecodeError):
                tickcast.decode_frame(payload + bytes(8), streams)

    def test_another_version_is_an_error(self):
        for _, payload, streams in self.each():
            with self.assertRaisesRegex(tickcast.DecodeError, "version 2"):
                tickcast.decode_frame(b"\x02" + payload[1:], streams)

    def test_decimals_go_there_and_back(self):
        for value in (0, 1, -1, 10, -500, 2**63 - 1, 1 - 2**63):
            for exponent in range(-18, 19):
                text = tickcast.decimal_text(value, exponent)
                self.assertEqual(tickcast.decimal_integer(text, exponent), value)

    def test_books_and_checksums(self):
        self.assertEqual(tickcast.crc32c(b"123456789"), 0xE3069283)
        books = {}
        for expected, payload, streams in self.each():
            if expected["frame"]["channel"] != "book" or expected["name"] == "book_empty":
                continue
            stream = expected["stream"]
            book = books.setdefault(stream["instrument"], tickcast.Book(stream))
            for message in tickcast.decode_frame(payload, streams)["messages"]:
                self.assertTrue(book.apply(message), message)
        es, oil = books[1], books[2]
        self.assertEqual(es.last_seq, 1007)
        self.assertEqual(
            es.levels(), [[["4809.75", "31"], ["4809.5", "7"], ["4809.25", "3"]], [["4810.25", "27"], ["4810.5", "40"]]]
        )
        self.assertEqual((oil.last_seq, len(oil.bids), len(oil.asks)), (50, 12, 2))
        update = {"snapshot": False, "first_seq": 1009, "last_seq": 1010, "bids": [], "asks": []}
        self.assertFalse(es.apply(update), "1008 is missing")
        self.assertTrue(es.apply({**update, "first_seq": 1000, "last_seq": 1007}), "old news")
        self.assertEqual(es.last_seq, 1007)

    def test_orders(self):
        frames = {expected["name"]: (payload, streams) for expected, payload, streams in self.each()}
        kept = {}
        for names in (["orders", "order"], ["order_clear"]):
            for name in names:
                payload, streams = frames[name]
                for number, stream in streams.items():
                    orders = kept.setdefault(number, tickcast.Orders(stream))
                    for message in tickcast.decode_frame(payload, streams)["messages"]:
                        self.assertTrue(orders.apply(message), message)
        es = kept[1]
        self.assertEqual(
            es.side("bid"),
            [("12", 481_000, 7), ("18", 481_000, 4), ("9007199254740993", 481_000, 6), ("7", 480_975, 31)],
        )
        self.assertEqual((es.side("ask"), es.last_seq), ([], 405))
        self.assertEqual((kept[2].orders, kept[2].last_seq), ({}, 4))
        late = {"type": "order", "first_seq": 407, "last_seq": 407, "action": "clear"}
        self.assertFalse(es.apply(late), "406 is missing")
        self.assertTrue(es.apply({**late, "first_seq": 405, "last_seq": 405}), "old news")
        self.assertEqual(len(es.orders), 4)


if __name__ == "__main__":
    unittest.main()
