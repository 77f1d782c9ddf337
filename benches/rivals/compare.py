#!/usr/bin/env python3
"""Runs Tickcast and its rivals in turns under the load generator, and compares them: `make bench-rivals`.

Every repetition runs every server once, each second one in reverse order, so that what changes on the machine
meanwhile falls on all of them alike. A ratio is taken within a repetition; what is told is the median of the ratios.
A run in which a message was lost has failed and counts for nothing.

Builds nothing. Python's standard library only.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKLOADS = (
    "fanout-1x1000:1 fanout-1x1000:16 fanout-1x1000:64 fanout-1x1000:max fanout-100x500 firehose latency-1 latency-100"
)
# Each workload of which the load generator's own server publishes prepared trades; the others are not a rival's.
PREPARED = ("fanout-1x1000", "fanout-100x500", "firehose", "ten-thousand", "ten-thousand-idle", "latency-1", "latency-100")
SERVERS = ("tickcast", "batched", "raw", "bun", "naive", "tungstenite", "ws")
# Seconds that a run may take beyond what it measures: ten thousand handshakes, a slow server's end.
PATIENCE_S = 120
# From here on the load generator may be what is measured.
GENERATOR_CORES = 0.9


@dataclasses.dataclass(frozen=True)
class Metric:
    """What is read from a result: its name, how to print it, and the figure."""

    name: str
    unit: str
    read: object
    smaller_is_better: bool = False


def messages_per_cpu_second(result):
    """Messages for each second of the server's CPU; of a server that sends each by itself, frames are messages."""
    frames = result["frames"]
    return result["server"]["frames_per_cpu_second"] * result["messages"] / frames / 1e6 if frames else 0.0


def cores(result):
    return result["server"]["cores"] + result["server"]["softirq_cores"]


def micros(of, quantile):
    return lambda result: result[of][quantile] / 1e3


THROUGHPUT = (Metric("messages per CPU second", "M", messages_per_cpu_second),)
LATENCY = (
    Metric("stamp to receipt, p50", "µs", micros("latency_from_publish", "p50"), True),
    Metric("stamp to receipt, p99", "µs", micros("latency_from_publish", "p99"), True),
    Metric("due to receipt, p50", "µs", micros("latency", "p50"), True),
    Metric("due to receipt, p99", "µs", micros("latency", "p99"), True),
)
MANY = (
    Metric("CPU", "cores", cores, True),
    Metric("resident", "bytes a connection", lambda result: result["server"]["bytes_per_connection"], True),
)


def metrics(workload):
    if workload.startswith("latency"):
        return LATENCY
    return MANY if workload.startswith("ten-thousand") else THROUGHPUT


def executable_of(messages):
    """The path of the rivals' executable, from what `cargo build --message-format json` has said."""
    found = None
    for line in pathlib.Path(messages).read_text().splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "rivals":
            found = message.get("executable") or found
    return found


def bun():
    """Bun's executable as npm leaves it, or None. (The package's own script may not have been allowed to run.)"""
    candidates = [HERE / "node_modules/bun/bin/bun.exe", *HERE.glob("node_modules/@oven/bun-*/bin/bun")]
    for candidate in filter(pathlib.Path.is_file, candidates):
        try:
            subprocess.run([candidate, "--version"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return path(candidate)
    return None


def path(file):
    """As seen from the root, where everything runs: the load generator takes no spaces in `--server`."""
    return os.path.relpath(file, ROOT)


def commands(names, rivals):
    """The `--server` of each server, and why others are not there. None: the load generator's own."""
    node, bun_path = shutil.which("node"), bun()
    there, skipped = {}, {}
    for name in names:
        if name in ("tickcast", "batched"):
            there[name] = None
        elif name in ("raw", "naive", "tungstenite"):
            if rivals and os.access(rivals, os.X_OK):
                there[name] = f"{path(rivals)} {name}"
            else:
                skipped[name] = "cargo build --release --bench rivals has built nothing"
        elif name == "ws":
            if not node:
                skipped[name] = "node is not installed"
            elif not (HERE / "node_modules/ws").is_dir():
                skipped[name] = "npm could not install the package ws"
            else:
                there[name] = f"{node} {path(HERE / 'ws.mjs')}"
        elif not bun_path:
            skipped[name] = "npm could not install the package bun"
        else:
            there[name] = f"{bun_path} {path(HERE / 'bun.mjs')}"
    return there, skipped


class Runs:
    """Runs the load generator, one run at a time, and ends it when this program ends."""

    def __init__(self, options):
        self.options = options
        self.child = None

    def arguments(self, workload, gather, name, server):
        options = self.options
        line = [os.path.abspath(options.tickcast), "bench", "--json", "--pin", "--workload", workload]
        line += ["--duration", str(options.seconds), "--warmup", str(options.warmup)]
        line += ["--gather", gather] if gather else []
        line += ["--connections", str(options.connections)] if options.connections else []
        line += ["--frame-messages", "65535"] if name == "batched" else []
        return line + (["--server", server] if server else [])

    def run(self, arguments):
        """The result, or None and why there is none."""
        # In a group of its own, so that the server that it starts is ended with it.
        self.child = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, error = self.child.communicate(timeout=self.options.seconds + self.options.warmup + PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.end()
            return None, "it did not end"
        code, self.child = self.child.returncode, None
        said = error.decode(errors="replace").strip()
        if code != 0:
            return None, said.splitlines()[-1] if said else f"exit code {code}"
        try:
            return json.loads(out), ""
        except ValueError as fault:
            return None, f"its output is not JSON: {fault}"

    def end(self):
        """Ends what still runs."""
        child, self.child = self.child, None
        if child is None:
            return
        # The children first, by the group; nobody else is in it.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                break
            time.sleep(0.2)
        child.communicate()


def spread(values, metric):
    digits = 0 if statistics.median(values) >= 1000 else 3 if metric.unit != "µs" else 1
    show = lambda value: f"{value:.{digits}f}"
    return show(statistics.median(values)), f"{show(min(values))} .. {show(max(values))}"


def ratio(results, name, base, metric):
    """The median of the ratios of those repetitions in which both have a result."""
    pairs = zip(results.get(name, ()), results.get(base, ()))
    pairs = [(metric.read(mine), metric.read(theirs)) for mine, theirs in pairs if mine and theirs]
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return f"{statistics.median(ratios):.2f}" if ratios and name != base else "-"


def table(title, results, metric):
    """Lines of a table: median, range, ratios of one metric."""
    better = "less is better" if metric.smaller_is_better else "more is better"
    lines = [f"{title}: {metric.name}, {metric.unit} ({better})"]
    lines.append(f"  {'':<12} {'median':>10} {'range':>22} {'runs':>5} {'/ raw':>7} {'/ tickcast':>10}")
    for name, of_server in results.items():
        values = [metric.read(result) for result in of_server if result]
        if not values:
            lines.append(f"  {name:<12} {'failed':>10}")
            continue
        median, values_range = spread(values, metric)
        against = [ratio(results, name, base, metric) for base in ("raw", "tickcast")]
        lines.append(
            f"  {name:<12} {median:>10} {values_range:>22} {len(values):>5} {against[0]:>7} {against[1]:>10}"
        )
    return lines


def busy(results):
    """Who may have been held up by the load generator."""
    for name, of_server in results.items():
        used = [result["generator_cores"] for result in of_server if result]
        if used and statistics.median(used) > GENERATOR_CORES:
            yield f"  {name}: the clients used {statistics.median(used):.2f} cores; they may be what is measured"


def compare(runs, there, workload, gather):
    """Every repetition of a workload; prints as it goes and returns what is to be kept."""
    title = workload + (f", gather {gather}" if gather else "")
    results, failures = {name: [] for name in there}, []
    for repetition in range(runs.options.runs):
        order = list(there) if repetition % 2 == 0 else list(reversed(there))
        for name in order:
            if sys.stderr.isatty():
                print(f"\r\033[K{title}: run {repetition + 1} of {runs.options.runs}: {name}", end="", file=sys.stderr)
            result, why = runs.run(runs.arguments(workload, gather, name, there[name]))
            results[name].append(result)
            if result is None:
                failures.append({"server": name, "run": repetition + 1, "why": why})
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    for metric in metrics(workload):
        print("\n".join(table(title, results, metric)))
    for line in busy(results):
        print(line)
    for failure in failures:
        print(f"  {failure['server']}: run {failure['run']} failed: {failure['why']}")
    print(flush=True)
    return {"workload": workload, "gather": gather, "results": results, "failures": failures}


def wanted(text):
    """`fanout-1x1000` stands for each of its gathers in the list of all, `fanout-1x1000:16` for one."""
    everything = [entry.partition(":")[::2] for entry in WORKLOADS.split()]
    for entry in text.replace(",", " ").split():
        name, _, gather = entry.partition(":")
        if name not in PREPARED:
            raise SystemExit(f"compare.py: workload {name}: allowed: {', '.join(PREPARED)}")
        if gather:
            yield name, gather
        else:
            yield from [known for known in everything if known[0] == name] or [(name, "")]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default=WORKLOADS, help="NAME or NAME:GATHER, several with spaces between")
    parser.add_argument("--servers", default=" ".join(SERVERS), help="which, in which order (%(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="repetitions (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="measured in each run (%(default)s)")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before that (%(default)s)")
    parser.add_argument("--connections", type=int, help="clients, if not as many as the workload has")
    parser.add_argument("--tickcast", default=str(ROOT / "target/release/tickcast"), help="its executable")
    parser.add_argument("--rivals", help="the rivals' executable")
    parser.add_argument("--cargo-messages", help="or what `cargo build --message-format json` said when it was built")
    parser.add_argument("--out", help="write every result into this file, as JSON")
    chosen = parser.parse_args()
    unknown = set(chosen.servers.split()) - set(SERVERS)
    if unknown or chosen.runs < 1 or chosen.seconds <= 0:
        parser.error(f"servers: {', '.join(SERVERS)}; runs: 1 or more; seconds: more than 0")
    return chosen


def main():
    chosen = options()
    rivals = chosen.rivals or (chosen.cargo_messages and executable_of(chosen.cargo_messages))
    there, skipped = commands(chosen.servers.split(), rivals)
    workloads = list(wanted(chosen.workload))
    load = os.getloadavg()
    print(f"{platform.node()}: {os.cpu_count()} cores, {platform.system()} {platform.release()}; load average {load[0]:.2f}")
    print(f"{chosen.runs} runs of {chosen.seconds:g} s after {chosen.warmup:g} s; batched: tickcast, many messages a frame")
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}")
    print(flush=True)
    runs = Runs(chosen)
    kept = {"load_average": load, "command": shlex.join(sys.argv), "skipped": skipped, "workloads": []}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for workload, gather in workloads:
            kept["workloads"].append(compare(runs, there, workload, gather))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        runs.end()
        if chosen.out:
            pathlib.Path(chosen.out).write_text(json.dumps(kept, indent=1))
    failed = sum(len(workload["failures"]) for workload in kept["workloads"])
    if failed:
        sys.exit(f"compare.py: {failed} runs failed")


if __name__ == "__main__":
    main()
