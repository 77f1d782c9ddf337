#!/usr/bin/env python3
"""Runs the Autobahn test suite against the server's echo: `make conformance`. README.md tells what it is about.

Exit codes: 0 all is well; 1 a case is bad, differs from what is stored, or has not run; 2 wrong arguments;
77 skipped, for there is no Python 2.7 or the suite cannot be installed.

Builds nothing. Python's standard library only.
"""

import argparse
import collections
import dataclasses
import fnmatch
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
MODES = ("off", "shared", "dedicated")
SKIPPED = 77
GOOD = ("OK", "INFORMATIONAL")
# Sections in which each case offers permessage-deflate: without it they can only be UNIMPLEMENTED.
DEFLATE = ("12", "13")
# What a change on its way is tried with. Each set of parameters that can be negotiated (13.1 to 13.7), and all five
# kinds of content (12.1 to 12.5); .1 to .10 are messages of 16 bytes to 128 KiB, .11 to .18 larger ones in fragments.
SUBSET_DEFLATE = (
    "9.1.6 9.4.1 12.1.1 12.2.6 12.3.3 12.4.11 12.5.5 "
    "13.1.2 13.1.9 13.2.1 13.2.5 13.3.3 13.3.11 13.4.2 13.4.6 13.5.4 13.6.1 13.7.5"
)
SUBSET = {"off": "1 2 3 4 5 6 7 10", "shared": SUBSET_DEFLATE, "dedicated": SUBSET_DEFLATE}
# Minutes that one mode may take. All cases, compressed, took 43 on two cores that had other things to do.
LIMIT, LIMIT_SUBSET = 120, 10
START_S = 30
# A server that has died is noticed by the suite, which then writes down what it has.
GIVE_UP_S = 20

# The packages go first on the path, before what this Python has of the same name. `addsitedir` reads their .pth files.
LOAD = "import sys, site; folder = sys.argv.pop(1); sys.path.insert(0, folder); site.addsitedir(folder); "
RUN = LOAD + "from autobahntestsuite.wstest import run; run()"
LIST = LOAD + "from autobahntestsuite.case import Cases; print ' '.join(case.__name__ for case in Cases)"


class Skip(Exception):
    """The suite cannot run here, and why."""


class Fault(Exception):
    """The server or the suite did not do its part."""


def shown(path):
    """As seen from where the user is."""
    return os.path.relpath(path)


def last_line(text, otherwise):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def cases(number):
    return f"{number} case" + "s" * (number != 1)


def ended(code):
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def in_order(names):
    return sorted(names, key=lambda case: [int(part) for part in case.split(".")])


def python27():
    """The first Python 2.7 that runs. (A shim of pyenv is on the PATH and fails.)"""
    named = os.environ.get("TICKCAST_PYTHON27")
    if named:
        candidates = [named]
    else:
        candidates = [shutil.which("python2.7")]
        if shutil.which("pyenv"):
            root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
            candidates += sorted(pathlib.Path(root).glob("versions/2.7*/bin/python"), reverse=True) if root else []
    for candidate in filter(None, candidates):
        try:
            check = "import sys, ssl, zlib; sys.exit(sys.version_info[:2] != (2, 7))"
            if subprocess.run([candidate, "-E", "-c", check], capture_output=True, timeout=60).returncode == 0:
                return str(candidate)
        except (OSError, subprocess.TimeoutExpired):
            continue
    if named:
        raise Skip(f"no Python 2.7: TICKCAST_PYTHON27 is {named}, which is none or does not run")
    raise Skip("no Python 2.7: TICKCAST_PYTHON27 is not set, and neither PATH nor pyenv has one that runs")


class Suite:
    """The installed suite: how to call it, and the names of all its cases."""

    def __init__(self, folder):
        self.python = [python27(), "-E", "-s"]
        self.packages = folder / "autobahn"
        self.install()
        listing = subprocess.run(self.command(LIST), capture_output=True, text=True)
        if listing.returncode != 0:
            (self.packages / "installed").unlink()
            why = last_line(listing.stderr, ended(listing.returncode))
            raise Skip(f"the suite cannot be loaded: {why} (the next run installs it anew)")
        self.cases = in_order(name.removeprefix("Case").replace("_", ".") for name in listing.stdout.split())

    def install(self):
        """Once, and again when the requirements have changed. They are copied last: a broken attempt is repeated."""
        wanted, stamp = REQUIREMENTS.read_text(), self.packages / "installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        print(f"installing the suite into {shown(self.packages)}", flush=True)
        shutil.rmtree(self.packages, ignore_errors=True)
        line = [*self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(self.packages)]
        try:
            pip = subprocess.run([*line, "-r", str(REQUIREMENTS)], capture_output=True, text=True, timeout=1200)
        except subprocess.TimeoutExpired:
            raise Skip("the suite cannot be installed: pip has not ended in 20 minutes") from None
        if pip.returncode != 0:
            said = [line.strip() for line in pip.stderr.splitlines() if line.strip()]
            # `error:` is a compiler's or package's own, `ERROR:` is pip's.
            found = [line for word in ("error:", "ERROR:") for line in said if line.startswith(word)] + said[-1:]
            raise Skip(f"the suite cannot be installed: {found[0] if found else ended(pip.returncode)}")
        stamp.write_text(wanted)

    def command(self, code, *arguments):
        return [*self.python, "-u", "-c", code, str(self.packages), *arguments]

    @staticmethod
    def version():
        lines = REQUIREMENTS.read_text().splitlines()
        return next(line for line in lines if line.startswith("autobahntestsuite")).replace("==", " ")


class Children:
    """What this program has started, so that none of it outlives it."""

    def __init__(self):
        self.running = []

    def start(self, line, out, error):
        # In a group of its own, so that what it starts is ended with it.
        with open(out, "w") as out, open(error, "w") as error:
            child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=error, start_new_session=True)
        self.running.append(child)
        return child

    def end(self):
        while self.running:
            child = self.running[-1]
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(child.pid, number)
                    child.wait(2)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
            child.wait()
            self.running.pop()


class Progress:
    """A line that changes on a terminal, a line a minute elsewhere."""

    def __init__(self, mode, total):
        self.mode, self.total, self.told = mode, total, time.monotonic()

    def tell(self, case, number):
        line = f"{self.mode}: {case}, {number} of {self.total}"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.told >= 60:
            print(line, flush=True)
            self.told = time.monotonic()

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Run:
    """What came of a mode: the suite's own report of each case that it has one of, and why that may not be all."""

    mode: str
    wanted: list
    reports: dict
    fault: str
    seconds: float

    def behaviour(self, case):
        report = self.reports.get(case)
        return [report["behavior"], report["behaviorClose"]] if report else ["NOT RUN", "NOT RUN"]

    def is_bad(self, case):
        return any(behaviour not in GOOD for behaviour in self.behaviour(case))

    def seconds_of(self, case):
        """0 of a case whose connection never opened: the suite counts it from 1970."""
        ms = self.reports.get(case, {}).get("duration", 0)
        return ms / 1000 if ms < 1e9 else 0


def start_server(children, options, mode, folder):
    """The running server, and the URL of its echo."""
    out, log = folder / "server.out", folder / "server.log"
    line = [os.path.abspath(options.server), "serve", "--listen", "127.0.0.1:0", "--symbols", "1", "--rate", "1"]
    try:
        server = children.start([*line, "--echo", "--compression", mode], out, log)
    except OSError as error:
        raise Fault(f"the server cannot be started: {error}") from None
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        # Whole lines only: the port may not be there yet.
        found = re.search(r"ws://([\w.]+:\d+)/.*\n", out.read_text(errors="replace"))
        if found:
            return server, f"ws://{found[1]}/echo"
        if server.poll() is not None:
            why = last_line(log.read_text(errors="replace"), ended(server.returncode))
            raise Fault(f"the server has ended before it was up: {why}")
        time.sleep(0.05)
    raise Fault(f"the server has named no address on its standard output in {START_S} s")


def follow(suite, server, folder, progress, limit):
    """Waits for the suite to end; why it did not run to its end, or nothing."""
    begun, server_died, case, number = time.monotonic(), None, "no case", 0

    def has_ended(who, process):
        told = last_line((folder / f"{who}.log").read_text(errors="replace"), "it said nothing")
        return f"the {who} has ended in or after {last_case}: {ended(process.returncode)}: {told}"

    with open(folder / "suite.out") as said:
        rest = ""
        while True:
            over = suite.poll() is not None
            *lines, rest = (rest + said.read()).split("\n")
            for line in lines:
                found = re.match(r"Running test case ID (\S+)", line)
                if found:
                    case, number = found[1], number + 1
                    progress.tell(case, number)
            if server_died is None:
                last_case = case
                server_died = time.monotonic() if server.poll() is not None else None
            if server_died and (over or time.monotonic() - server_died > GIVE_UP_S):
                return has_ended("server", server)
            if over:
                return has_ended("suite", suite) if suite.returncode else ""
            if time.monotonic() - begun > limit:
                # At once: asked to end, it would count the case that it breaks off as failed.
                suite.kill()
                return f"not over after {limit / 60:g} minutes, in or after {case}"
            time.sleep(0.1)


def run_mode(children, suite, options, mode, wanted):
    folder = options.folder / mode
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun, reports, fault = time.monotonic(), {}, ""
    progress = Progress(mode, len(wanted))
    try:
        server, url = start_server(children, options, mode, folder)
        spec = {"outdir": str(folder), "servers": [{"agent": "tickcast", "url": url}], "cases": wanted}
        (folder / "spec.json").write_text(json.dumps(spec))
        line = suite.command(RUN, "-m", "fuzzingclient", "-s", str(folder / "spec.json"))
        child = children.start(line, folder / "suite.out", folder / "suite.log")
        fault = follow(child, server, folder, progress, options.limit * 60)
    except Fault as why:
        fault = str(why)
    finally:
        progress.end()
        children.end()
    index = folder / "index.json"
    if index.is_file():
        reports = json.loads(index.read_text()).get("tickcast", {})
        files = {case: folder / entry["reportfile"] for case, entry in reports.items()}
        reports = {case: json.loads(file.read_text()) for case, file in files.items() if file.is_file()}
    missing = [case for case in wanted if case not in reports]
    if missing and not fault:
        fault = f"{cases(len(missing))} not run, the first is {missing[0]}"
    return Run(mode, wanted, reports, fault, time.monotonic() - begun)


def table(run):
    """A line for each section: cases by behaviour, and the seconds they took."""
    rows = {}
    for case in run.wanted:
        row = rows.setdefault(case.split(".")[0], collections.Counter())
        row["bad" if run.is_bad(case) else run.behaviour(case)[0]] += 1
        row["seconds"] += run.seconds_of(case)
    rows["all"] = sum(rows.values(), collections.Counter())
    yield f"  {'section':<7} {'cases':>6} {'OK':>6} {'INFORMATIONAL':>14} {'other':>6} {'seconds':>8}"
    for section, row in rows.items():
        ok, informational, other = row["OK"], row["INFORMATIONAL"], row["bad"]
        numbers = f"{ok + informational + other:>6} {ok:>6} {informational:>14} {other:>6}"
        yield f"  {section:<7} {numbers} {row['seconds']:>8.1f}"


def short(value):
    """A text or value of a report on one line, without HTML."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(re.sub(r"<[^<>]*>", " ", text).split())
    return text if len(text) <= 200 else text[:200] + " ..."


def explained(run, case):
    """What the suite wanted of a bad case and what it got."""
    report, (behaviour, close) = run.reports[case], run.behaviour(case)
    yield f"  BAD {case}: {behaviour}, close {close}"
    yield f"    wanted: {short(report['expectation'])}"
    if behaviour not in GOOD:
        yield f"    got:    {short(report['result'])}"
        if report["expected"]:
            yield f"            events {short(report['received'])}, not {short(report['expected'])}"
    if close not in GOOD:
        code = report["remoteCloseCode"]
        yield f"    close:  {short(report['resultClose'])}; code {'none' if code is None else code}"
        if report["wasNotCleanReason"]:
            yield f"            {short(report['wasNotCleanReason'])}"


def stored(path, anew):
    """The file's cases: name, then mode, then both behaviours. Those of another suite are good for nothing."""
    kept = json.loads(path.read_text()) if path.is_file() else {"suite": Suite.version(), "cases": {}}
    if kept["suite"] == Suite.version():
        return kept["cases"]
    if not anew:
        sys.exit(f"autobahn.py: {shown(path)} is of {kept['suite']}, this is {Suite.version()}: --store makes it anew")
    return {}


def differences(run, known):
    for case in run.reports:
        before, now = known.get(case, {}).get(run.mode), run.behaviour(case)
        if before and before != now:
            yield f"  DIFFERS {case}: {', close '.join(now)}; stored is {', close '.join(before)}"


def store(path, runs, known):
    """Adds what these runs have seen. Those that were not whole add nothing: what they saw may be of their end."""
    for run in runs:
        for case in run.reports if not run.fault else ():
            known.setdefault(case, {})[run.mode] = run.behaviour(case)
    counts, lines = {mode: dict.fromkeys(("cases", *GOOD, "other"), 0) for mode in MODES}, []
    for case in in_order(known):
        of_modes = {mode: known[case][mode] for mode in MODES if mode in known[case]}
        for mode, both in of_modes.items():
            counts[mode]["cases"] += 1
            counts[mode][both[0] if all(behaviour in GOOD for behaviour in both) else "other"] += 1
        lines.append(f'  "{case}": {json.dumps(of_modes)}')
    counts = [f'  "{mode}": {json.dumps(count)}' for mode, count in counts.items()]
    head = f'{{\n "suite": "{Suite.version()}",\n "counts": {{\n' + ",\n".join(counts) + '\n },\n "cases": {\n'
    path.write_text(head + ",\n".join(lines) + "\n }\n}\n")
    print(f"stored in {shown(path)}")


def chosen_cases(suite, mode, text):
    """`9`, `9.*` and `9.1` stand for all below them. All must be known; which of them run depends on the mode."""
    chosen = set()
    for pattern in text.replace(",", " ").split():
        matching = [case for name in (pattern, f"{pattern}.*") for case in fnmatch.filter(suite.cases, name)]
        if not matching:
            print(f"autobahn.py: --cases: {pattern} is no case of the suite", file=sys.stderr)
            sys.exit(2)
        chosen.update(matching)
    return in_order(case for case in chosen if mode != "off" or case.split(".")[0] not in DEFLATE)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="tickcast's executable")
    parser.add_argument("--modes", default=",".join(MODES), help="of compression (%(default)s)")
    parser.add_argument("--cases", default="*", help='which, such as "1.*,2.3" (all; with `off`, sections 1 to 10)')
    parser.add_argument("--subset", action="store_true", help="some cases for all modes, in a minute or two")
    parser.add_argument("--store", action="store_true", help="keep what came out, instead of comparing with it")
    parser.add_argument("--stored", type=pathlib.Path, default=ROOT / "docs/conformance.json", help="where that is")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/conformance", help="of suite and reports")
    parser.add_argument("--limit", type=float, help=f"minutes for a mode ({LIMIT}; of a subset {LIMIT_SUBSET})")
    options = parser.parse_args()
    options.modes = options.modes.replace(",", " ").split()
    options.folder = options.folder.resolve()
    options.limit = options.limit or (LIMIT_SUBSET if options.subset else LIMIT)
    if not options.modes or set(options.modes) - set(MODES):
        parser.error(f"modes: {', '.join(MODES)}")
    if options.subset and options.cases != "*":
        parser.error("either --subset or --cases")
    if not os.access(options.server, os.X_OK):
        parser.error(f"server: {options.server} is not there, or not executable")
    return options


def judge(run, known, options):
    """Prints what came of a mode; returns what is wrong with it, in short."""
    bad = [case for case in run.wanted if run.is_bad(case)]
    changed = [] if options.store else list(differences(run, known))
    where = shown(options.folder / run.mode)
    print(f"{run.mode}: {cases(len(run.wanted))} in {run.seconds:.0f} s; reports and logs: {where}")
    if run.reports:
        print("\n".join(table(run)))
    # Of a case that has not run there is nothing to tell but the fault.
    for case in filter(run.reports.get, bad):
        print("\n".join(explained(run, case)))
    for line in changed:
        print(line)
    if run.fault:
        print(f"  FAULT: {run.fault}")
        yield run.fault
    print(flush=True)
    if bad:
        yield f"bad or not run: {cases(len(bad))}"
    if changed:
        yield f"not as stored in {shown(options.stored)}: {cases(len(changed))}"


def run_all(children, options):
    """True if all is well."""
    suite, known = Suite(options.folder), stored(options.stored, options.store)
    texts = {mode: SUBSET[mode] if options.subset else options.cases for mode in options.modes}
    wanted = {mode: chosen_cases(suite, mode, text) for mode, text in texts.items()}
    begun, runs, wrong = time.monotonic(), [], []
    for mode in options.modes:
        if not wanted[mode]:
            print(f"{mode}: nothing to run, sections {' and '.join(DEFLATE)} are about compression\n")
            continue
        runs.append(run_mode(children, suite, options, mode, wanted[mode]))
        wrong += [f"{mode}: {what}" for what in judge(runs[-1], known, options)]
    if options.store:
        store(options.stored, runs, known)
    if not runs:
        wrong.append("nothing has run")
    total = cases(sum(len(run.wanted) for run in runs))
    print("\n".join([*wrong, f"{total} in {time.monotonic() - begun:.0f} s: {'FAILED' if wrong else 'all good'}"]))
    return not wrong


def main():
    options, children = arguments(), Children()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        well = run_all(children, options)
    except Skip as why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # Nothing may interrupt this.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        children.end()
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
