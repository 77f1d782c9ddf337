#!/usr/bin/env python3
"""Measures the server with a load generator that is not ours: this one knows docs/protocol.md and nothing else.

foreign.py TICKCAST [WORKLOAD ...] [--runs N] [--seconds N]    TICKCAST: the release binary; needs numpy

Runs `tickcast bench --pin` and itself in turns, against the same server started in the same way, and prints what each
of the two has measured, and their ratios run by run. Every message is checked here too: its frame, its instrument's
next sequence, its time. Workloads: those of one trade a frame at a steady rate; clients read every 10 ms, or at once where
the workload is one of latency.
"""

import argparse
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time

import numpy

WORKLOADS = {
    # clients, their symbols, whether they read at once
    "fanout-1x1000": (1000, 1, False),
    "fanout-100x500": (500, 10, False),
    "latency-1": (1, 1, True),
    "latency-100": (100, 1, True),
}
REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tickcast.v1.bin\r\n\r\n"
)
# A binary frame of one trade: docs/protocol.md, "Binary frames". In front of it the WebSocket head: final, binary, 88 bytes.
TRADE = numpy.dtype(
    {
        "names": ["head", "version", "channel", "messages", "instrument", "length", "kind", "first", "last", "ts", "sent"],
        "formats": ["<u2", "u1", "u1", "<u2", "<u4", "<u4", "u1", "<u8", "<u8", "<u8", "<u8"],
        "offsets": [0, 2, 3, 4, 6, 18, 22, 26, 34, 42, 50],
        "itemsize": 90,
    }
)
HEAD = 0x82 | 88 << 8


class Client:
    """One connection, and where each of its streams stands."""

    def __init__(self, address, symbols):
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(REQUEST.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        subscribe = json.dumps({"op": "subscribe", "symbols": symbols, "channels": ["trades"]}).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(subscribe)]) if len(subscribe) < 126 else bytes([0xFE]) + len(subscribe).to_bytes(2, "big")
        self.socket.sendall(b"\x81" + length + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(subscribe)))
        self.last, self.rest = {}, b""
        while not self.last:
            self.rest = self.take(self.rest + self.socket.recv(65536), None)
        assert len(self.last) == len(symbols), self.last
        self.socket.setblocking(False)

    def take(self, data, seen):
        """Takes whole frames; returns what is left."""
        while len(data) >= 2:
            trades = numpy.frombuffer(data, TRADE, len(data) // 90) if data[0] == 0x82 and seen else ()
            if len(trades):
                odd = numpy.flatnonzero(trades["head"] != HEAD)
                trades = trades[: odd[0]] if len(odd) else trades
                self.check(trades)
                seen(trades)
                data = data[len(trades) * 90 :]
                continue
            size, start = data[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            assert data[1] < 127, "masked, or longer than any reply"
            if len(data) < start + size:
                break
            if data[0] == 0x81:
                self.text(json.loads(data[start : start + size]))
            else:
                assert data[0] == 0x89, f"an unexpected frame {data[:8].hex()}"
            data = data[start + size :]
        return data

    def text(self, message):
        if message["type"] == "subscribed":
            self.last.update((stream["instrument"], stream["seq"]) for stream in message["streams"])
        assert message["type"] in ("welcome", "subscribed", "heartbeat"), message

    def check(self, trades):
        """Each a trade alone in its frame, each stream's sequences without a hole."""
        assert (trades["version"] == 1).all() and (trades["channel"] == trades["channel"][0]).all()
        assert (trades["messages"] == 1).all() and (trades["length"] == 72).all() and (trades["kind"] == 2).all()
        assert (trades["first"] == trades["last"]).all(), "a message of several sequences"
        for instrument in self.last:
            sequences = trades["last"][trades["instrument"] == instrument] if len(self.last) > 1 else trades["last"]
            if len(sequences):
                count = len(sequences)
                assert (sequences == numpy.arange(self.last[instrument] + 1, self.last[instrument] + 1 + count)).all(), "a hole"
                self.last[instrument] += count

    def read(self, seen):
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                return
            assert data, "closed"
            self.rest = self.take(self.rest + data, seen)
            if len(data) < 1 << 18:
                return


def used(pid, core):
    """Seconds of a process, and of the kernel's soft interrupts on its core."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    line = next(line for line in open("/proc/stat") if line.startswith(f"cpu{core} ")).split()
    return (int(fields[11]) + int(fields[12]) + int(line[7])) / os.sysconf("SC_CLK_TCK")


def foreign(command, workload, seconds):
    """The workload with our clients: messages a second, nanoseconds of the server for each, p50 and p99 in µs, own cores."""
    clients, each, at_once = WORKLOADS[workload]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, cores[-1:])
    try:
        host, port = server.stdout.readline().strip()[5:-3].split(":")
        count = int(command[command.index("--symbols") + 1])
        connections = [
            Client((host, int(port)), [f"S{(client * each + n) % count}" for n in range(each)]) for client in range(clients)
        ]
        late, messages = [], 0

        def seen(trades):
            nonlocal messages
            messages += len(trades)
            late.append(time.time_ns() - trades["ts"].astype(numpy.int64))

        poll = select.epoll()
        by_number = {client.socket.fileno(): client for client in connections}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        server.stdin.write("start\n")
        server.stdin.flush()
        begin, end, before = time.monotonic() + 0.5, None, None
        next_look = time.monotonic()
        while end is None or time.monotonic() < end:
            if not at_once:
                next_look = max(next_look + 0.01, time.monotonic())
                time.sleep(max(0.0, next_look - time.monotonic()))
            for number, _ in poll.poll(0.01, len(connections)):
                by_number[number].read(seen)
            if before is None and time.monotonic() > begin:
                late.clear()
                messages, before, own = 0, used(server.pid, cores[0]), time.process_time()
                begin = time.monotonic()
                end = begin + seconds
        took = time.monotonic() - begin
        cpu, own = used(server.pid, cores[0]) - before, (time.process_time() - own) / took
        p50, p99 = numpy.percentile(numpy.concatenate(late), (50, 99)) / 1e3
        return messages / took, cpu / messages * 1e9, p50, p99, own
    finally:
        server.kill()
        server.wait()
        os.sched_setaffinity(0, cores)


def ours(binary, workload, seconds):
    command = [binary, "bench", "--workload", workload, "--pin", "--duration", str(seconds), "--warmup", "0.5", "--json"]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    latency = result["latency"]
    figures = (result["messages_per_second"], result["server"]["ns_per_frame"], latency["p50"] / 1e3, latency["p99"] / 1e3)
    return result["command"].split(), (*figures, result["generator_cores"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tickcast", help="the release binary")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    if unknown := [name for name in args.workloads if name not in WORKLOADS]:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    for workload in args.workloads or WORKLOADS:
        pairs = []
        for _ in range(args.runs):
            command, own = ours(args.tickcast, workload, args.seconds)
            pairs.append((own, foreign(command, workload, args.seconds)))
        print(f"{workload}, {args.runs} pairs of {args.seconds:g} s, {time.strftime('%Y-%m-%d')}, load average {os.getloadavg()[0]:.1f}")
        names = ("messages a second", "ns of the server for each", "p50, µs", "p99, µs", "cores of the clients")
        for at, name in enumerate(names):
            mine, theirs = ([pair[side][at] for pair in pairs] for side in (0, 1))
            ratios = [b / a for a, b in zip(mine, theirs)]
            print(
                f"  {name:<26} tickcast bench {statistics.median(mine):>12,.6g}   foreign {statistics.median(theirs):>12,.6g}   "
                f"foreign to ours {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        sys.stdout.flush()


main()
