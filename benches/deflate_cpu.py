#!/usr/bin/env python3
"""What compression costs a server, whose clients inflate nothing: N sockets read and throw away.

deflate_cpu.py TICKCAST [CLIENTS [RUNS [RATE]]]    TICKCAST: the release binary

Starts the server in turns without and with `--compression shared`, one symbol, its book each 100 ms in
tickcast.v1.bin to every client, and prints cores of the server, bytes and writes for each client a second.
"""

import selectors
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tickcast.v1.bin\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SUBSCRIBE = b'{"op":"subscribe","symbols":["*"],"channels":["book"],"interval_ms":100}'
SECONDS = 4


def masked(payload):
    mask = b"\x12\x34\x56\x78"
    return bytes([0x81, 0x80 | len(payload)]) + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def counters(address):
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            name = name.split("{")[0]
            found[name] = found.get(name, 0) + float(value)
    return found


def run(binary, clients, rate, compression):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--symbols", "1", "--rate", rate, "--compression", compression, "--log", "error"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = next(line.strip()[5:-3] for line in server.stdout if line.strip().startswith("ws://"))
        host, port = address.split(":")
        selector = selectors.DefaultSelector()
        for _ in range(clients):
            client = socket.create_connection((host, int(port)))
            client.sendall(REQUEST.encode())
            head = client.recv(4096)
            assert head.startswith(b"HTTP/1.1 101"), head
            assert (b"permessage-deflate" in head) == (compression != "off"), head
            client.sendall(masked(SUBSCRIBE))
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        buffer, received = bytearray(1 << 18), 0
        start = end = time.monotonic() + 1
        before = None
        while before is None or time.monotonic() < end:
            for key, _ in selector.select(0.01):
                received += key.fileobj.recv_into(buffer)
            if before is None and time.monotonic() > start:
                before = (cpu_seconds(server.pid), counters(address))
                received, start = 0, time.monotonic()
                end = start + SECONDS
        took = time.monotonic() - start
        after = (cpu_seconds(server.pid), counters(address))
        more = lambda name: (after[1][name] - before[1][name]) / took
        return (after[0] - before[0]) / took, received / took / clients, more("tickcast_writes_total") / clients, more("tickcast_merged_total")
    finally:
        server.kill()
        server.wait()


def main():
    binary = sys.argv[1]
    clients, runs = (int(value) for value in (sys.argv[2:4] + ["1000", "5"][len(sys.argv[2:4]) :]))
    rate = sys.argv[4] if len(sys.argv) > 4 else "20000"
    seen = {"off": [], "shared": []}
    for _ in range(runs):
        for compression, results in seen.items():
            results.append(run(binary, clients, rate, compression))
    for compression, results in seen.items():
        cores = [result[0] for result in results]
        rest = [statistics.median(result[n] for result in results) for n in (1, 2, 3)]
        print(
            f"{clients} clients, {rate} ticks a second, {compression}: {statistics.median(cores):.3f} cores "
            f"({min(cores):.3f} to {max(cores):.3f}), {rest[0]:.0f} bytes and {rest[1]:.0f} writes a second for each; merged {rest[2]:.0f} a second"
        )
    ratios = [shared[0] / off[0] for off, shared in zip(seen["off"], seen["shared"]) if off[0]]
    print(f"shared to off, run by run: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


main()
