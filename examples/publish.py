"""Publishes a market of one's own to Tickcast, with nothing but the standard library.

    python3 examples/publish.py | tickcast serve --source stdin

or through a socket, to which a writer can come back:

    tickcast serve --source unix:/tmp/tickcast.sock
    python3 examples/publish.py /tmp/tickcast.sock
"""

import json
import os
import socket
import sys
import time


def messages(count):
    """The instruments, then what happens: decimals as text, so that they stay exact."""
    yield {"type": "instruments", "instruments": [
        {"symbol": "GOLD", "price_exponent": -2, "quantity_exponent": 0, "tick_size": "0.10",
         "channels": ["quotes", "trades", "book", "ticker", "bars"]}]}
    yield {"type": "orderbook", "symbol": "GOLD", "snapshot": True, "ts_ns": str(time.time_ns()),
           "bids": [["2649.50", 5], ["2649.40", 8]], "asks": [["2650.10", 4], ["2650.20", 9]]}
    for number in range(1, count + 1):
        now = str(time.time_ns())
        # One exchange event: a trade, and what it leaves of the level that it met.
        yield {"type": "trade", "symbol": "GOLD", "ts_ns": now, "price": "2650.10", "quantity": 1,
               "aggressor": "buy", "trade_id": str(number), "last": False}
        yield {"type": "orderbook", "symbol": "GOLD", "ts_ns": now, "bids": [], "asks": [["2650.10", 4 + number % 3]]}


def publish(out, count, pause):
    for message in messages(count):
        out.write(json.dumps(message) + "\n")
        if pause:
            out.flush()
            time.sleep(pause)
    out.flush()


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "-"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    pause = 0.0 if len(sys.argv) > 2 else 0.1
    to = "standard output" if path == "-" else path
    try:
        if path == "-":
            publish(sys.stdout, count, pause)
        else:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                with connection.makefile("w") as out:
                    publish(out, count, pause)
    except OSError as error:
        print(f"publish.py: cannot publish to {to}: {error.strerror} (does the server run?)", file=sys.stderr)
        # What is still in Python's buffer goes nowhere, and is not tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


sys.exit(main())
