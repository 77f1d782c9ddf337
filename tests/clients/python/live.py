"""A client of a running server that holds what it hears to docs/protocol.md, and prints what it saw as JSON.

    live.py market ADDRESS SYMBOL...     every channel, every depth view, both encodings, HTTP beside them
    live.py replay ADDRESS SYMBOL CHANNEL...   a paused replay: starts it and hears it to its end, fast and slowly
    live.py views ADDRESS SYMBOL         a paused replay: intervals, depths and periods, changed while it plays; late joiners
    live.py resume ADDRESS SYMBOL...     leaves and comes back again and again, with `from`
    live.py slow ADDRESS SYMBOL...       a market that ends: falls behind until it does, by not reading and by `progress`
    live.py stop ADDRESS SYMBOL...       hears until the server closes

The first thing that is not as documented ends it with exit code 1 and a message.
"""

import asyncio
import collections
import contextlib
import json
import sys

from live_checks import CHANNELS, Transcript, add_up, bars, books, ledgers, queues, twins
from live_delivery import resume, slow, views
from live_session import BINARY, JSON, Connection, Violation, expect, http_soon

DEPTHS = [1, 5, 10, 25]
# Messages of each of these channels that each full connection hears at least before it stops.
ENOUGH = 300


async def market(address, *symbols):
    listed = (await http_soon(address, "/api/v1/instruments"))["instruments"]
    expect({*symbols} <= {entry["symbol"] for entry in listed}, symbols, "are not listed")
    plain, text, binary = full = [await Connection.open(address, protocol) for protocol in (None, JSON, BINARY)]
    await dialogue(plain, listed)
    views = {
        (depth, protocol): await Connection.open(address, protocol) for depth in DEPTHS for protocol in (JSON, BINARY)
    }
    changing = await Connection.open(address, BINARY)
    for number, connection in enumerate(full):
        channels = [channel for channel in CHANNELS if channel != "status"]
        period = {"period": "1s"}
        await connection.request(f"data {number}", op="subscribe", symbols=symbols, channels=channels, **period)
        await connection.request(number, op="subscribe", symbols=["*"], channels=["status"])
    for (depth, _), connection in views.items():
        await connection.request(depth, op="subscribe", symbols=symbols, channels=["book"], depth=depth)
    with_snapshot = await Connection.open(address, JSON)
    await with_snapshot.request(1, op="subscribe", symbols=symbols, channels=["trades"], snapshot=True)
    await with_snapshot.request(2, op="subscribe", symbols=symbols, channels=["quotes", "book"], snapshot=False)

    everyone = [*full, *views.values(), changing, with_snapshot]
    bodies = {symbol: [] for symbol in symbols}
    polling = asyncio.create_task(poll(address, bodies))
    for depth in [5, None, 25, 1, 10]:
        heard = changing.messages
        await changing.request(f"now {depth}", op="subscribe", symbols=symbols, channels=["book"], depth=depth)
        await changing.until(lambda: changing.messages > heard + 20 * len(symbols), "messages after changing the depth")
    for connection in everyone:
        await connection.until(lambda: connection.heartbeats, "heartbeat")
    await text.until(lambda: text.trades >= ENOUGH, "enough trades")
    # Another heartbeat tells how far the views are complete.
    seen = views[1, JSON].heartbeats
    counted = await http_soon(address, "/api/v1/connections?streams=true")
    await views[1, JSON].until(lambda: views[1, JSON].heartbeats > seen, "second heartbeat")
    polling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await polling

    transcripts = {connection: Transcript(connection) for connection in everyone}
    await leave_streams(binary, symbols)
    await leave_streams(text, symbols)
    for connection in everyone:
        await connection.leave()
    for connection in (binary, text):
        Transcript(connection)

    a, b, c = (transcripts[connection] for connection in full)
    compared = twins(b, c)
    twins(a, c)
    for depth in DEPTHS:
        compared[f"depth {depth}"] += sum(twins(*(transcripts[views[depth, p]] for p in (JSON, BINARY))).values())
    right = collections.Counter()
    for symbol in symbols:
        of_views = [transcripts[view].of(symbol, "book") for view in views.values()]
        of_views += [
            stream
            for stream in transcripts[changing].all_streams()
            if stream.entry["symbol"] == symbol and stream.depth
        ]
        for transcript in (b, c):
            right += books(transcript.of(symbol, "book"), of_views, bodies[symbol])
        for transcript in (b, c):
            right += bars(transcript.of(symbol, "bars"), transcript.of(symbol, "trades"))
        right["orders"] += queues(b.of(symbol, "orders"), c.of(symbol, "orders"))
    for transcript in transcripts.values():
        right["ledgers"] += ledgers(transcript, counted["connections"])
    finished = [stream for stream in transcripts[changing].finished if stream.snapshots == 1]
    return {
        "messages": sum(sum(t.counts[c] for c in CHANNELS) for t in transcripts.values()),
        "heard": {connection.name: transcripts[connection].counts for connection in full},
        "compared": compared,
        "right": right,
        "http": sum(map(len, bodies.values())),
        "resubscribed": len(finished),
    }


async def dialogue(connection, listed):
    """Requests and their answers, in shapes and codes."""
    answer = await connection.request("all", op="list")
    names = [entry["symbol"] for entry in listed]
    pages = [entry for page in connection.log if page["type"] == "instruments" for entry in page["instruments"]]
    expect([entry["symbol"] for entry in pages] == names, "list and HTTP differ")
    expect((await connection.request(7, op="ping"))["type"] == "pong", "pong")
    for code, request in {
        "unknown_op": {"op": "dance"},
        "bad_request": {"op": "subscribe", "symbols": names[0], "channels": ["quotes"]},
        "unknown_symbol": {"op": "subscribe", "symbols": ["NO-SUCH"], "channels": ["quotes"]},
        "unknown_channel": {"op": "subscribe", "symbols": [names[0]], "channels": ["gossip"]},
        "unavailable": {"op": "auth"},
    }.items():
        answer = await connection.request(code, **request)
        expect(answer["type"] == "error" and answer["code"] == code, code, answer)
    for text in ("{", "[]", '"subscribe"', '{"op":1}'):
        answer = await connection.heard("error", text)
        expect(answer["code"] == "bad_request" and "id" not in answer, text, answer)
    answer = await connection.request("none", op="subscribe", symbols=["NO-SUCH*"], channels=["quotes"])
    expect(answer["streams"] == [] and answer["more"] is False, answer)
    answer = await connection.request("nothing", op="unsubscribe", symbols=[names[0]], channels=["quotes"])
    expect(answer["streams"] == [], answer)


async def poll(address, bodies):
    """Books over HTTP, again and again."""
    while True:
        for symbol, seen in bodies.items():
            for depth in [None, *DEPTHS]:
                path = f"/api/v1/book/{symbol}" + (f"?depth={depth}" if depth else "")
                seen.append((depth, await http_soon(address, path)))


async def leave_streams(connection, symbols):
    """Ends the streams, first some and then all: silence is kept though the market goes on. (Transcript looks.)"""
    answer = await connection.request("some", op="unsubscribe", symbols=symbols, channels=["trades", "quotes"])
    expect(len(answer["streams"]) == 2 * len(symbols), answer)
    heard = connection.messages
    await connection.until(lambda: connection.messages > heard + 100, "books after trades and quotes")
    answer = await connection.request("rest", op="unsubscribe", symbols=["*"], channels=CHANNELS)
    heard = connection.messages
    reached = await book_seq(connection.address, symbols[0])
    while await book_seq(connection.address, symbols[0]) < reached + 20:
        pass
    await connection.request("after", op="list")
    expect(connection.messages == heard, connection.name, "got market data after unsubscribed")


async def book_seq(address, symbol):
    return int((await http_soon(address, f"/api/v1/book/{symbol}?depth=1"))["last_seq"])


async def replay(address, symbol, *channels):
    """One client that reads in binary, one in JSON that is slow; both hear everything, and the same."""
    fast, slow = await Connection.open(address, BINARY), await Connection.open(address, JSON, max_queue=1)
    slow.pause_s = 0.004
    refused = {}
    for channel in CHANNELS:
        if channel not in channels:
            answer = await fast.request(f"refused {channel}", op="subscribe", symbols=[symbol], channels=[channel])
            refused[channel] = answer.get("code")
    granted = {}
    for connection in (fast, slow):
        answer = await connection.request("all", op="subscribe", symbols=[symbol], channels=channels)
        granted = {entry["channel"]: entry["depth"] for entry in answer["streams"]}
    state = await http_soon(address, "/api/v1/replay")
    await http_soon(address, "/api/v1/replay", {"action": "play"})
    transcripts = []
    for connection in (fast, slow):
        await connection.until(lambda: "replay_ended" in connection.notices, "end of the replay")
        transcripts.append(Transcript(connection))
        expect(transcripts[-1].notices == ["replay_ended"], transcripts[-1].notices)
    ended = await http_soon(address, "/api/v1/replay")
    body = await http_soon(address, f"/api/v1/book/{symbol}")
    for connection in (fast, slow):
        await connection.leave()
    compared = twins(*transcripts)
    summaries = [story(transcript, symbol, channels) for transcript in transcripts]
    expect(summaries[0] == summaries[1], "the fast and the slow client differ:", *summaries)
    if "book" in channels:
        for transcript in transcripts:
            books(transcript.of(symbol, "book"), [], [(None, body)])
    return {**summaries[0], "compared": compared, "refused": refused, "granted": granted, "state": [state, ended]}


def story(transcript, symbol, channels):
    """What a transcript says of an instrument from sequence 0 to the end."""
    told = {}
    for channel in channels:
        stream = transcript.of(symbol, channel)
        if stream.messages:
            expect(int(stream.messages[0]["first_seq"]) <= 1, "the stream begins late:", stream.messages[0])
        told[channel] = {"messages": len(stream.messages), "last_seq": stream.last, "last": stream.messages[-1]}
    if "trades" in channels:
        trades = transcript.of(symbol, "trades").messages
        told["trades"]["count"] = len(trades)
        told["trades"]["first"] = trades[0]
        volumes = collections.Counter()
        for trade in trades:
            volumes[trade["aggressor"]] += int(trade["quantity"])
        told["trades"]["volume"] = volumes
    if "bars" in channels:
        told["bars"]["right"] = bars(transcript.of(symbol, "bars"), transcript.of(symbol, "trades"))
    if "orders" in channels:
        orders = transcript.of(symbol, "orders").state
        told["orders"]["count"] = len(orders.orders)
        told["orders"]["first"] = [[order[0] for order in orders.side(side)[:3]] for side in ("bid", "ask")]
        add_up(orders, transcript.of(symbol, "book").state)
    if "book" in channels:
        book = transcript.of(symbol, "book").book
        told["book"]["levels"] = [len(book.bids), len(book.asks)]
        told["book"]["best"] = book.levels(5)
        del told["book"]["last"]
    return told


async def stop(address, *symbols):
    """Hears until the server closes: the last is data in order, then the notice, then 1001."""
    connections = [await Connection.open(address, protocol) for protocol in (JSON, BINARY)]
    for connection in connections:
        await connection.request(1, op="subscribe", symbols=symbols, channels=CHANNELS)
        await connection.until(lambda: connection.messages > 200, "messages")
    print("ready", flush=True)
    told = []
    for connection in connections:
        await connection.until_closed()
        transcript = Transcript(connection)
        expect(transcript.notices == ["shutting_down"], connection.name, transcript.notices)
        expect(connection.log[-1]["type"] == "notice", "after the notice:", connection.log[-1])
        ends = {f"{symbol} {channel}": stream.last for (symbol, channel), stream in transcript.streams.items()}
        told.append({"close": connection.close, "ends": ends, "messages": connection.messages})
    return {"clients": told}


def main(mode, *arguments):
    modes = {"market": market, "replay": replay, "views": views, "resume": resume, "slow": slow, "stop": stop}
    try:
        print(json.dumps(asyncio.run(modes[mode](*arguments))))
    except Violation as violation:
        notes = "".join(f" ({note})" for note in getattr(violation, "__notes__", []))
        sys.exit(f"live.py {mode}: {violation}{notes}")


if __name__ == "__main__":
    main(*sys.argv[1:])
