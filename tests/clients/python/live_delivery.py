"""Views with intervals, resuming, slow clients: what ``live.py`` does besides hearing everything. See there."""

import asyncio
import collections
import random
import socket as sockets
import time

from live_checks import CHANNELS, INTERVALS_MS, Transcript, add_up, bars, ledgers, queues, sides
from live_session import BINARY, JSON, PATIENCE, Connection, expect, http, http_soon

STATES = ["quotes", "book", "ticker"]
PERIODS = ["1s", "1m", "5m", "1h"]


async def until_noticed(connection, code):
    await connection.until(lambda: code in connection.notices, f"notice: {code}")


async def until_told(address, connections, is_told):
    """Waits until the server has told these connections so much, and they have heard it."""
    peers = [connection.peer for connection in connections]
    begun = time.monotonic()
    while True:
        listed = (await http_soon(address, "/api/v1/connections?streams=true&limit=1000"))["connections"]
        rows = {connection["peer"]: connection["streams"] for connection in listed}
        told = [{(row["symbol"], row["channel"]): int(row["seq"]) for row in rows[peer]} for peer in peers]
        if is_told(told):
            break
        expect(time.monotonic() - begun < PATIENCE, "not told within", PATIENCE, "s:", *told)
        await asyncio.sleep(0.1)
    for connection in connections:
        # The answer comes behind what it was told before.
        await connection.request(f"told {time.monotonic()}", op="list")


async def steer(address, **request):
    return await http_soon(address, "/api/v1/replay", request)


async def until_counted(transcripts, address):
    """Waits until the server's ledger is the clients': both have all there is. How many streams were compared."""
    connections = (await http_soon(address, "/api/v1/connections?streams=true&limit=1000"))["connections"]
    compared = 0
    for transcript in transcripts:
        (ours,) = [connection for connection in connections if connection["peer"] == transcript.peer]
        streams = len(ours["streams"])
        expect(streams == len(transcript.streams), transcript.name, streams, len(transcript.streams))
        expect(ledgers(transcript, connections) == streams, transcript.name, "streams whose ledgers were not comparable")
        for name in ("delivered", "merged", "lost"):
            counted = sum(stream.ledger[name] for stream in transcript.all_streams())
            expect(int(ours[name]) == counted, f"the server counts {ours[name]} {name}, the client {counted}")
        for theirs in ours["streams"]:
            stream = transcript.of(theirs["symbol"], theirs["channel"])
            expect(int(theirs["seq"]) == stream.last, "the server is at", theirs, "the client at", stream.last)
            expect(stream.last - stream.begin == sum(stream.ledger.values()), stream.ledger, "of", stream.begin, stream.last)
        compared += streams
    return compared


async def views(address, symbol):
    """A replay heard through every interval, from its beginning and by who comes late."""
    full = await Connection.open(address, BINARY)
    channels = [channel for channel in CHANNELS if channel != "status"]
    await full.request("all", op="subscribe", symbols=[symbol], channels=channels, period="1s")
    paced, begun = {}, time.monotonic()
    for number, interval_ms in enumerate(INTERVALS_MS[1:]):
        for depth in (None, 5):
            connection = await Connection.open(address, (BINARY, JSON)[number % 2])
            view = {"interval_ms": interval_ms - number % 2, "depth": depth}
            await connection.request("view", op="subscribe", symbols=[symbol], channels=STATES, **view)
            paced[interval_ms, depth] = connection
    of_period = {}
    for number, period in enumerate(PERIODS):
        of_period[period] = await Connection.open(address, (BINARY, JSON)[number % 2])
        await of_period[period].request(period, op="subscribe", symbols=[symbol], channels=["bars", "trades"], period=period)
    changing = await Connection.open(address, JSON)
    joining = [await Connection.open(address, protocol) for protocol in (BINARY, JSON)]
    late = []
    await steer(address, action="play")

    # Views of one connection, one after another, and joiners of a view that others hear.
    state, joins, round_, brought = {"state": "playing"}, 0, 0, collections.Counter()
    while state["state"] == "playing":
        view = {
            "depth": [None, 1, 5, 10, 25][round_ % 5],
            "interval_ms": [0, 100, 10, 0, 250, 50][round_ % 6],
            "period": PERIODS[round_ % 4],
        }
        await changing.request(f"change {round_}", op="subscribe", symbols=[symbol], channels=[*STATES, "bars"], **view)
        brought[view["interval_ms"]] += 1
        for connection in joining:
            view = {"depth": 5, "interval_ms": 250 if round_ % 2 else 100}
            await connection.request(f"join {round_}", op="subscribe", symbols=[symbol], channels=["book"], **view)
            joins += 1
            brought[view["interval_ms"]] += 1
        if round_ in (1, 3):
            await steer(address, action="pause")
            for protocol in (JSON, BINARY):
                connection = await Connection.open(address, protocol)
                await connection.request("late", op="subscribe", symbols=[symbol], channels=["orders", "book", "trades", "bars"], period="1s")
                late.append(connection)
            await steer(address, action="play")
        round_ += 1
        await asyncio.sleep(0.02)
        state = await http_soon(address, "/api/v1/replay")
    await until_noticed(full, "replay_ended")
    joins_of = [*joining, changing]
    for connection in joins_of:
        await connection.request("the last", op="subscribe", symbols=[symbol], channels=STATES, depth=5, interval_ms=10)
    everyone = [full, *paced.values(), *of_period.values(), *joins_of, *late]
    # The last update of the longest interval is due.
    whole = Transcript(full)
    ends = {(symbol, channel): whole.of(symbol, channel).last for channel in STATES}
    await until_told(address, [paced[5000, None]], lambda told: told == [ends])
    lasted_s = time.monotonic() - begun
    transcripts = {connection: Transcript(connection) for connection in everyone}
    counted = await until_counted(transcripts.values(), address)

    updates = collections.Counter()
    for (interval_ms, depth), connection in paced.items():
        transcript = transcripts[connection]
        same_end(transcript, whole, symbol, depth)
        for channel in STATES:
            stream = transcript.of(symbol, channel)
            changes = [message for message in stream.messages if not message.get("snapshot")]
            # Whoever joins may bring one forward; the last to come join at 10 ms.
            most = lasted_s * 1000 / interval_ms + 2 + brought[interval_ms] + (len(joins_of) if interval_ms == 10 else 0)
            expect(len(changes) <= most, f"{len(changes)} updates of {channel} at {interval_ms} ms, {most} at the most")
            updates[f"{interval_ms}"] += len(changes)
    for connection in joins_of:
        same_end(transcripts[connection], whole, symbol, 5)
    joined = [stream for connection in joins_of for stream in transcripts[connection].finished]
    went_on = sum(any(not message.get("snapshot") for message in stream.messages) for stream in joined)

    told = collections.Counter()
    for period, connection in of_period.items():
        told[period] += bars(transcripts[connection].of(symbol, "bars"), transcripts[connection].of(symbol, "trades"))["complete"]
    orders = whole.of(symbol, "orders").state
    add_up(orders, whole.of(symbol, "book").state)
    parts = 0
    for connection in late:
        transcript = transcripts[connection]
        bars(transcript.of(symbol, "bars"), transcript.of(symbol, "trades"))
        stream = transcript.of(symbol, "orders")
        parts = max(parts, int(stream.messages[0].get("parts", 1)))
        expect(len(stream.messages) > int(stream.messages[0].get("parts", 1)), "nothing came after the snapshot")
        held, wanted = ([one.side(side) for side in ("bid", "ask")] for one in (stream.state, orders))
        expect(held == wanted, "the queues of a late joiner differ from those of the whole history")
        expect(sides(transcript.of(symbol, "book").state) == sides(whole.of(symbol, "book").state), "so do the levels")
    for connection in everyone:
        await connection.leave()
    return {
        "updates": updates, "seconds": int(lasted_s), "joins": joins, "went_on": went_on, "complete": told, "orders": len(orders.orders),
        "late": len(late), "parts": parts, "ledgers": counted, "changes": round_, "book": whole.of(symbol, "book").last,
    }


def same_end(transcript, whole, symbol, depth):
    """A view ends as the whole does."""
    for channel in STATES:
        ours, theirs = (one.of(symbol, channel) for one in (transcript, whole))
        if channel == "book":
            top = tuple(side[:depth] for side in sides(theirs.state))
            expect(sides(ours.state) == top, transcript.name, "book of", ours.entry, "instead of", top)
        else:
            head = {"first_seq", "sent_ns", "merged", "snapshot", "more"}
            last = [{key: m[key] for key in m.keys() - head} for m in (ours.messages[-1], theirs.messages[-1])]
            expect(last[0] == last[1], ours.entry, *last)


def positions(transcript, channels=CHANNELS):
    """Where a client stands: what it says in ``from``."""
    return [
        {"symbol": symbol, "channel": channel, "epoch": stream.epoch, "seq": stream.last}
        for (symbol, channel), stream in transcript.streams.items()
        if stream.last is not None and not stream.stale and channel in channels
    ]


async def resume(address, *symbols):
    """One client that stays, others that come and go: to each of these nothing is lost and nothing comes twice."""
    rng = random.Random(3)
    witness = await Connection.open(address, BINARY)
    await witness.request("all", op="subscribe", symbols=symbols, channels=CHANNELS, period="1s", snapshot=True)
    views = {
        "whole": {"channels": CHANNELS, "period": "1s"},
        "views": {"channels": STATES, "depth": 5, "interval_ms": 50},
    }
    told = collections.Counter()
    for (name, view), protocol in [(item, protocol) for item in views.items() for protocol in (JSON, BINARY)]:
        earlier, messages = None, collections.defaultdict(list)
        for visit in range(6):
            connection = await Connection.open(address, protocol)
            known = {"from": positions(earlier)} if earlier else {}
            answer = await connection.request("all", op="subscribe", symbols=symbols, **view, **known)
            pages = [entry for entry in connection.log if isinstance(entry, dict) and entry["type"] == "subscribed"]
            expect(answer["type"] == "subscribed", answer)
            heard = connection.messages
            least = rng.randrange(50, 400)
            await connection.until(lambda: connection.messages > heard + least, f"{least} messages")
            # The connection breaks, at any point: half a frame may be underway.
            connection.socket.transport.abort()
            await connection.until_closed()
            transcript = Transcript(connection, earlier)
            for key, stream in transcript.streams.items():
                if earlier:
                    expect(stream.epoch == earlier.streams[key].epoch, "another epoch:", stream.entry)
                    # Where something is left out a snapshot comes.
                    is_exact = name == "whole"
                    expect(stream.resumed or not is_exact or earlier.streams[key].last is None, "not resumed:", stream.entry)
                    expect(not (stream.resumed and stream.snapshots), "a snapshot of what goes on:", stream.entry)
                    expect(not stream.gaps, "a gap:", stream.gaps, stream.entry)
                    told["resumed" if stream.resumed else "snapshots"] += 1
                messages[key] += stream.messages
            earlier = transcript
            told["visits"] += 1
            told["pages"] += len(pages)
        reached = max(stream.last or 0 for stream in earlier.streams.values())
        told["last"] = max(told["last"], reached)
        if name == "whole":
            kept = {key: stream.last for key, stream in earlier.streams.items()}
            await until_told(address, [witness], lambda told: all(told[0][key] >= last for key, last in kept.items() if last))
            told += compare(Transcript(witness), messages, kept)
    await strangers(address, symbols, told)
    await witness.leave()
    return told


def compare(whole, messages, kept):
    """What somebody heard in several visits is, message by message, what the one who stayed has heard."""
    compared = collections.Counter()
    for key, heard in messages.items():
        changes = [message for message in heard if not message.get("snapshot")]
        if not changes:
            continue
        begin, end = int(changes[0]["first_seq"]), int(changes[-1]["last_seq"])
        at = begin
        for message in changes:
            expect(int(message["first_seq"]) == at, "after", at - 1, "comes", message)
            at = int(message["last_seq"]) + 1
        expect(end == kept[key] or not changes, key, "ends at", end, kept[key])
        theirs = [m for m in whole.of(*key).messages if begin <= int(m["first_seq"]) and int(m["last_seq"]) <= end]
        theirs = [message for message in theirs if not message.get("snapshot")]
        if key[1] == "bars":
            # Told in between is only how a bar stood then; each that is complete is told, now and then once more as it is.
            theirs, changes = (list(complete_bars(all_).values()) for all_ in (theirs, changes))
        expect(len(theirs) == len(changes), key, "messages:", len(changes), "instead of", len(theirs))
        for one, other in zip(changes, theirs):
            expect(one == other, "resumed:", one, "as it was:", other)
        compared[key[1]] += len(changes)
    return compared


def complete_bars(messages):
    """Those that are complete, by their start, each with the sequence at which it was told first."""
    bars_ = {}
    for message in messages:
        if message["complete"]:
            bars_.setdefault(message["start"], bar_of(message))
    return bars_


def bar_of(message):
    return {key: message[key] for key in message.keys() - {"first_seq", "merged", "sent_ns", "ts_ns", "timestamp", "more"}}


async def strangers(address, symbols, told):
    """Who names an epoch that is none gets a reset and begins anew; who is ahead waits and then begins anew."""
    for protocol in (JSON, BINARY):
        connection = await Connection.open(address, protocol)
        epoch = int(connection.log[0]["epoch"])
        stood = [{"symbol": symbol, "channel": channel, "epoch": epoch - 1, "seq": 5} for symbol in symbols for channel in CHANNELS]
        await connection.request("stranger", op="subscribe", symbols=symbols, channels=CHANNELS, **{"from": stood})
        await connection.until(lambda: connection.messages > 500, "messages")
        transcript = Transcript(connection)
        resets = [message["symbol"] for message in transcript.resets]
        expect(sorted(resets) == sorted(symbols), "a reset for each instrument:", resets)
        expect(all(reset["reason"] == "restart" and int(reset["epoch"]) == epoch for reset in transcript.resets), transcript.resets)
        for stream in transcript.streams.values():
            expect(stream.snapshots == 1 or stream.channel in ("trades", "bars"), "no snapshot after the reset:", stream.entry)
        told["resets"] += len(resets)
        await connection.leave()

        connection = await Connection.open(address, protocol)
        stood = [{"symbol": symbols[0], "channel": channel, "epoch": epoch, "seq": 2**52} for channel in STATES]
        begun = time.monotonic()
        await connection.request("ahead", op="subscribe", symbols=symbols[:1], channels=STATES, **{"from": stood})
        await connection.until(lambda: connection.messages >= 3, "snapshots")
        waited_s = time.monotonic() - begun
        expect(waited_s > 1, "a snapshot at once for who is ahead of the server: after", waited_s)
        told["ahead"] += 1
        await connection.leave()


async def until_conflating(address, connections):
    peers = {connection.peer for connection in connections}
    while peers:
        listed = (await http_soon(address, "/api/v1/connections"))["connections"]
        peers -= {connection["peer"] for connection in listed if connection["conflating"]}
        await asyncio.sleep(0.05)


async def slow(address, *symbols):
    """Clients that fall behind: what they miss is merged or declared, and in the end they hold what the others hold."""
    witness = await Connection.open(address, BINARY)
    choked = [await Connection.open(address, protocol) for protocol in (JSON, BINARY)]
    # A receive buffer that the kernel does not let grow: what is not read stays with the server.
    stalled = []
    for protocol in (JSON, BINARY):
        socket = sockets.socket()
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 16384)
        socket.setblocking(False)
        host, port = address.split(":")
        await asyncio.get_running_loop().sock_connect(socket, (host, int(port)))
        stalled.append(await Connection.open(address, protocol, sock=socket, max_queue=4))
    for connection in (witness, *choked, *stalled):
        await connection.request("all", op="subscribe", symbols=symbols, channels=CHANNELS, period="1s")
    for connection in choked:
        # They read everything, but the program behind takes nothing, and then all of it.
        await connection.progress(1)
    for connection in stalled:
        connection.stand_still()
    for connection in choked:
        await until_noticed(connection, "conflating")
        expect("recovered" not in connection.notices, "recovered without progress")
    await until_conflating(address, stalled)
    for connection in choked:
        connection.report()
        await until_noticed(connection, "recovered")
    for connection in stalled:
        connection.go_on()
        await until_noticed(connection, "conflating")
        await until_noticed(connection, "recovered")
    everyone = [witness, *choked, *stalled]
    for connection in everyone:
        await until_noticed(connection, "replay_ended")
    await until_told(address, everyone, lambda told: all(other == told[0] for other in told))
    transcripts = [Transcript(connection) for connection in everyone]
    told = collections.Counter(ledgers=await until_counted(transcripts, address))
    whole = transcripts[0]
    for transcript in transcripts[1:]:
        for key, stream in transcript.streams.items():
            expect(stream.last == whole.of(*key).last, key, "ends at", stream.last, "instead of", whole.of(*key).last)
            told["merged"] += stream.ledger["merged"]
            told["lost"] += stream.ledger["lost"]
            told[f"gaps of {key[1]}"] += len(stream.gaps)
            told["clears"] += sum(message.get("action") == "clear" for message in stream.messages)
            same_state(stream, whole.of(*key))
        told["recovered"] += transcript.notices.count("recovered")
    for connection in everyone:
        await connection.leave()
    return told


def same_state(ours, whole):
    if ours.channel == "book":
        expect(sides(ours.state) == sides(whole.state), "the book of a slow client differs:", ours.entry)
    elif ours.channel == "orders":
        held = [[stream.state.side(side) for side in ("bid", "ask")] for stream in (ours, whole)]
        expect(held[0] == held[1], "the queues of a slow client differ:", ours.entry)
    elif ours.channel == "bars":
        complete = [complete_bars(stream.messages) for stream in (ours, whole)]
        first = min((int(start) for start in complete[0]), default=0)
        missing = [s for s, bar in complete[1].items() if int(s) >= first and complete[0].get(s) != bar]
        expect(not missing, "completed bars that a slow client was not told:", missing)
    elif ours.channel == "trades":
        # Every trade came as it was, but for those that were declared lost; the one who stays may lack some too.
        lost = {seq for first, last in ours.gaps for seq in range(first, last + 1)}
        heard, theirs = ({int(m["first_seq"]): m for m in stream.messages} for stream in (ours, whole))
        expect(heard.keys().isdisjoint(lost), "told and declared lost")
        expect(len(heard) == ours.ledger["delivered"] and not ours.ledger["merged"], "neither told nor lost:", ours.ledger)
        for seq in heard.keys() & theirs.keys():
            expect(heard[seq] == theirs[seq], "another trade:", heard[seq], theirs[seq])
    elif ours.messages and whole.messages:
        body = lambda m: {key: m[key] for key in m.keys() - {"first_seq", "merged", "snapshot", "more", "sent_ns"}}
        expect(body(ours.messages[-1]) == body(whole.messages[-1]), ours.messages[-1], whole.messages[-1])
