#!/usr/bin/env python3
"""Builds the fuzz targets and runs each for a while; prints what really ran.

    tests/fuzz/run.py                          each target for 60 seconds
    tests/fuzz/run.py --seconds 5 reader feed  only these, 5 seconds each
    tests/fuzz/run.py --self-test              first: is a planted bug found?
    tests/fuzz/run.py --repeat FILE reader     one input once more, with its stack

libFuzzer with the stable toolchain: RUSTC_BOOTSTRAP=1 lets it take the flags for coverage and AddressSanitizer. What
fuzzing finds out goes below the target folder: inputs that reach something new to fuzz/corpus, inputs that fail to
fuzz/findings. tests/fuzz/corpus is only read.

Exit code: 0 all ran and found nothing, 1 something was found or did not build, 77 cannot run here.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "fuzz"

# Longest input, bytes; longest time for one, seconds; largest single allocation, MiB. So an input whose cost grows faster
# than its length is found. Of an import: the metadata may have 256 MiB, and are reserved at once.
TARGETS = {
    "handshake": (4_096, 2, 4),
    "reader": (16_384, 5, 4),
    "inflate": (4_096, 5, 8),
    "commands": (65_536, 5, 16),
    "decode": (65_536, 2, 16),
    "feed": (32_768, 5, 128),
    "dbn": (16_384, 20, 300),
    "imports": (16_384, 10, 64),
}
RSS_MB = 2_048
PLANTED_SECONDS = 60

FLAGS = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    # Branches that are folded together are not told apart by coverage.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Zsanitizer=address",
]


def cannot_run(why):
    print(f"skipped: {why}")
    sys.exit(77)


def build():
    """The program that holds the targets."""
    if shutil.which("cargo") is None:
        cannot_run("fuzzing needs cargo")
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        cannot_run("fuzzing needs a C++ compiler for libFuzzer (g++ or clang++)")
    about = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = re.search("^host: (.*)$", about, re.M)[1]
    libraries = subprocess.run(["rustc", "--print", "target-libdir"], capture_output=True, text=True, check=True)
    if not any(Path(libraries.stdout.strip()).glob("librustc*asan.a")):
        cannot_run(f"this toolchain has no AddressSanitizer for {host}")
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1", "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(FLAGS)}
    manifest = ["--locked", "--quiet", "--manifest-path", HERE / "Cargo.toml"]
    fetched = subprocess.run(["cargo", "fetch", *manifest, "--target", host], stderr=subprocess.PIPE, text=True)
    if fetched.returncode != 0 and "--locked" in fetched.stderr:
        print(f"{fetched.stderr}FAILED: Cargo.toml has changed since: cargo update -w --manifest-path tests/fuzz/Cargo.toml")
        sys.exit(1)
    if fetched.returncode != 0:
        print(fetched.stderr)
        cannot_run("the crates that tests/fuzz/Cargo.lock names could not be fetched (no network)")
    # A target, even the host's own, keeps the flags from build scripts and macros.
    command = ["cargo", "build", *manifest, "--release", "--target", host, "--target-dir", FOLDER / "build"]
    started = time.monotonic()
    if subprocess.run(command, env=environment).returncode != 0:
        print("FAILED: the fuzz targets do not build")
        sys.exit(1)
    print(f"built in {time.monotonic() - started:.0f} s", flush=True)
    return FOLDER / "build" / host / "release" / "fuzz"


def environment_of(target, scratch):
    # libFuzzer prints the stack; one by Rust takes allocations that count against the target's limit.
    return {**os.environ, "TICKCAST_FUZZ": target, "TMPDIR": str(scratch), "RUST_BACKTRACE": "0"}


class Run:
    """One target, run for some seconds, and what is to be told of it."""

    def __init__(self, program, target, seconds, limits=None, corpora=(), dictionary=None):
        bytes_max, one_seconds, allocation_mb = limits
        self.findings = FOLDER / "findings" / target
        self.findings.mkdir(parents=True, exist_ok=True)
        before = set(self.findings.iterdir())
        log = FOLDER / f"{target}.log"
        command = [
            program,
            f"-max_total_time={seconds}",
            f"-max_len={bytes_max}",
            f"-timeout={one_seconds}",
            f"-rss_limit_mb={RSS_MB}",
            f"-malloc_limit_mb={allocation_mb}",
            f"-artifact_prefix={self.findings}/",
            # Longer inputs come sooner than by default: a run is short.
            "-len_control=10",
            "-print_final_stats=1",
        ]
        if dictionary is not None and dictionary.exists():
            command.append(f"-dict={dictionary}")
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(prefix="tickcast-fuzz-", dir=memory if memory.is_dir() else None) as scratch:
            started = time.monotonic()
            with open(log, "wb") as out:
                code = subprocess.run(
                    [*command, *corpora], env=environment_of(target, scratch), stdout=out, stderr=subprocess.STDOUT
                ).returncode
            self.seconds = time.monotonic() - started
        self.text = log.read_text(errors="replace")
        self.new = sorted(set(self.findings.iterdir()) - before)
        self.slow = [path for path in self.new if path.name.startswith("slow-unit-")]
        self.executions = self.number(r"stat::number_of_executed_units: (\d+)")
        self.edges = self.number(r".*\bcov: (\d+)")
        self.inputs = self.number(r".*\bcorp: (\d+)/")
        self.seeds = self.number(r"seed corpus: files: (\d+)")
        self.failed = code != 0

    def number(self, pattern):
        found = re.findall(pattern, self.text)
        return int(found[-1]) if found else 0

    def line(self, target):
        rate = self.executions / self.seconds if self.seconds > 0 else 0
        ends = "FAILED" if self.failed else f"{len(self.slow)} slow" if self.slow else "nothing found"
        return (
            f"{target:<10} {self.seconds:>7.1f} {self.executions:>12,} {rate:>9,.0f} {self.seeds:>6} {self.inputs:>7}"
            f" {self.edges:>7,}  {ends}"
        )


def fuzz(program, target, seconds):
    found = FOLDER / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    corpora = [found, HERE / "corpus" / target]
    run = Run(program, target, seconds, TARGETS[target], corpora, HERE / "dictionaries" / f"{target}.dict")
    # A run that executed nothing has shown nothing.
    run.failed |= run.executions == 0 or run.edges == 0
    print(run.line(target), flush=True)
    if run.failed:
        report(target, run)
    return not run.failed


def report(target, run):
    interesting = re.search(r"^(thread .* panicked|==\d+==).*", run.text, re.M)
    text = run.text[interesting.start():] if interesting else run.text[-3_000:]
    print("\n".join("    " + line for line in text.splitlines()[:60]))
    for path in run.new:
        print(f"  kept {path}")
        print(f"  to repeat: tests/fuzz/run.py {target} --repeat {path}", flush=True)


def self_test(program):
    """Shows that a bug is found where there is one: a sum that overflows behind a word of four letters."""
    run = Run(program, "planted", PLANTED_SECONDS, (64, 2, 4))
    is_found = run.failed and "attempt to add with overflow" in run.text and bool(run.new)
    for path in run.new:
        path.unlink()
    if is_found:
        print(f"self test: the planted bug was found in {run.seconds:.1f} s, {run.executions:,} executions", flush=True)
        return True
    print(f"FAILED: the planted bug was not found in {run.seconds:.0f} s, {run.executions:,} executions")
    print("\n".join("    " + line for line in run.text.splitlines()[-20:]))
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--self-test", action="store_true", help="first see that a planted bug is found")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run the target once, on this input")
    arguments = parser.parse_args()
    for target in arguments.targets:
        if target not in TARGETS:
            parser.error(f"no target {target}; there are: {', '.join(TARGETS)}")
    if arguments.seconds < 1 or arguments.repeat and len(arguments.targets) != 1:
        parser.error("--seconds is at least 1; --repeat needs one target")
    targets = arguments.targets or list(TARGETS)

    program = build()
    if arguments.repeat:
        with tempfile.TemporaryDirectory(prefix="tickcast-fuzz-") as scratch:
            again = subprocess.run([program, arguments.repeat], env=environment_of(targets[0], scratch))
            sys.exit(1 if again.returncode else 0)
    passed = failed = 0
    if arguments.self_test:
        good = self_test(program)
        passed, failed = passed + good, failed + (not good)
    print(f"{'target':<10} {'seconds':>7} {'executions':>12} {'a second':>9} {'seeds':>6} {'corpus':>7} {'edges':>7}")
    for target in targets:
        good = fuzz(program, target, arguments.seconds)
        passed, failed = passed + good, failed + (not good)
    print(f"fuzz: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
