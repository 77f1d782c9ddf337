#!/usr/bin/env bash
# Every check there is, step by step, each with its time; at the end what passed, failed and was skipped, and why.
#
#   tests/run.sh                         all steps
#   tests/run.sh format lint rust        only these
#
# TICKCAST_REQUIRE_ALL=1     a skip is a failure
# TICKCAST_TEST_DATA=FOLDER  recordings that some tests read (default ../shared/data)

set -uo pipefail
cd "$(dirname "$0")/.."

readonly steps_all=(tools format lint rust doc python node release conformance bench fuzz deny)
readonly steps=("${@:-${steps_all[@]}}")
for step in "${steps[@]}"; do
    if [[ " ${steps_all[*]} " != *" $step "* ]]; then
        echo "no step named $step; the steps are: ${steps_all[*]}" >&2
        exit 2
    fi
done

readonly logs=$PWD/target/test-logs
mkdir -p "$logs"
# Tests append a line here when they cannot run: name, tab, why (tests/common/mod.rs).
export TICKCAST_SKIPS=$logs/skips
: >"$TICKCAST_SKIPS"
readonly venv=$PWD/.venv
readonly js=tests/clients/js
readonly cargo_deny_version=0.20.2
# Everything there is: one build of the tests has all of it. The release steps build what users get.
readonly features=(--features parquet)
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

passed=0
failed=0
failures=()
step=

fail() { # WHAT [HOW MANY]
    failed=$((failed + ${2:-1}))
    failures+=("$step: $1")
}

skip() { # WHY
    echo "skipped: $1"
    if [[ ${TICKCAST_REQUIRE_ALL:-} == 1 ]]; then
        fail "skipped: $1"
    else
        printf '%s\t%s\n' "$step" "$1" >>"$TICKCAST_SKIPS"
    fi
}

# Runs a command, shows its output and keeps it in $log.
run() {
    echo "\$ $*"
    "$@" 2>&1 | tee "$log"
}

# A check that passes or fails as a whole.
check() {
    if run "$@"; then passed=$((passed + 1)); else fail "$*"; fi
}

# Sum of the numbers in what this pattern, which holds one, finds in the log.
sum() { grep -oE "$1" "$log" | grep -oE '[0-9]+' | awk '{ sum += $1 } END { print sum + 0 }'; }

# How many tests have reported a skip so far.
skipped_tests() { cut -f 1 "$TICKCAST_SKIPS" | sort -u | wc -l; }

# `cargo test` with these arguments: its tests are counted one by one. A test that reported a skip was counted as passed
# by cargo; it is taken off again.
cargo_test() {
    local ok=0 tests_failed skips_before skips_after
    skips_before=$(skipped_tests)
    run cargo test --locked --no-fail-fast --quiet "$@" || ok=$?
    skips_after=$(skipped_tests)
    passed=$((passed + $(sum '^test result: [a-zA-Z]+\. [0-9]+ passed') - (skips_after - skips_before)))
    tests_failed=$(sum 'passed; [0-9]+ failed')
    if ((tests_failed > 0)); then
        fail "$tests_failed of: cargo test $*" "$tests_failed"
    elif ((ok != 0)); then
        fail "cargo test $*"
    fi
}

# Debian packages that the tests use, each with the command that shows it is there.
step_tools() {
    local missing=()
    command -v strace >/dev/null || missing+=(strace)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    browser >/dev/null || missing+=(chromium)
    if ((${#missing[@]} == 0)); then
        echo "all there"
    elif [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        { run apt-get update -q && run apt-get install -qy --no-install-recommends "${missing[@]}"; } ||
            echo "apt-get failed; tests that need these are skipped: ${missing[*]}"
    else
        echo "tests that need these are skipped; to install them:"
        echo "    sudo apt-get install ${missing[*]}"
    fi
}

step_format() {
    check cargo fmt --all --check
    check cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

step_lint() { check cargo clippy --all-targets "${features[@]}" --locked --quiet -- -D warnings; }

step_rust() {
    prepare_python || true
    prepare_node || true
    prepare_browser || true
    cargo_test "${features[@]}"
}

step_doc() { RUSTDOCFLAGS="-D warnings" check cargo doc --no-deps "${features[@]}" --locked --quiet; }

# The Python packages of the client tests, in an environment of their own. Tests find its interpreter through
# TICKCAST_PYTHON, which is not set where the packages could not be installed.
prepare_python() {
    local wanted=tests/clients/python/requirements.txt stamp=$venv/installed
    unset TICKCAST_PYTHON
    if ! cmp -s "$wanted" "$stamp"; then
        run python3 -m venv "$venv" && run "$venv/bin/pip" install --quiet -r "$wanted" && cp "$wanted" "$stamp" ||
            return 1
    fi
    export TICKCAST_PYTHON=$venv/bin/python
}

# The same for Node: TICKCAST_NODE.
prepare_node() {
    local stamp=$js/node_modules/.installed
    unset TICKCAST_NODE
    command -v node >/dev/null || return 1
    if ! cmp -s "$js/package-lock.json" "$stamp"; then
        run npm ci --prefix "$js" --no-audit --no-fund --loglevel=error && cp "$js/package-lock.json" "$stamp" ||
            return 1
    fi
    TICKCAST_NODE=$(command -v node)
    export TICKCAST_NODE
}

# The browser: TICKCAST_CHROMIUM.
prepare_browser() {
    unset TICKCAST_CHROMIUM
    TICKCAST_CHROMIUM=$(browser) && export TICKCAST_CHROMIUM
}

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

step_python() {
    if ! prepare_python; then
        skip "the packages of tests/clients/python/requirements.txt could not be installed (no network, or no python3-venv)"
        return
    fi
    local ok=0 ran bad
    run "$TICKCAST_PYTHON" -m unittest discover -s tests/clients/python -p '*test*.py' || ok=$?
    ran=$(sum '^Ran [0-9]+ test')
    bad=$(($(sum 'failures=[0-9]+') + $(sum 'errors=[0-9]+')))
    passed=$((passed + ran - bad))
    if ((ok != 0 || ran == 0)); then fail "$ran tests ran, $bad failed" "$((bad > 0 ? bad : 1))"; fi
}

step_node() {
    if ! prepare_node; then
        skip "the packages of $js/package.json could not be installed (no network, or no Node)"
        return
    fi
    local ok=0 good bad
    # Named one by one: Node's versions differ in what they look for in a folder.
    run "$TICKCAST_NODE" --test --test-reporter=tap "$js"/*test*.*js || ok=$?
    good=$(sum '^# pass [0-9]+')
    bad=$(sum '^# fail [0-9]+')
    passed=$((passed + good))
    if ((ok != 0 || good + bad == 0)); then fail "$good passed, $bad failed" "$((bad > 0 ? bad : 1))"; fi
}

# The release build must publish the same bytes as the optimised debug build that the other steps use, whose tests hold it
# to the same file.
step_release() {
    check cargo build --release --locked --quiet
    check diff <(target/release/tickcast simulate --digest --seed 1 --symbols 20 --ticks 100000) \
        <(grep -v '^#' tests/data/sim_digest.txt)
}

# A part of the Autobahn suite against the release build, compared with what is stored. `make conformance` runs all of it.
step_conformance() {
    local ok=0 ran
    check cargo build --release --locked --quiet
    run python3 tests/conformance/autobahn.py --server target/release/tickcast --subset || ok=$?
    if ((ok == 77)); then
        skip "$(sed -n 's/^skipped: //p' "$log")"
        return
    fi
    ran=$(sed -nE 's/^([0-9]+) cases in .*: all good$/\1/p' "$log")
    if ((ok != 0)); then fail "the Autobahn suite"; else passed=$((passed + ${ran:-0})); fi
}

# Each benchmark runs once, in the build of the tests: it must work, its figures are not looked at. (Without `--bench`,
# which `cargo bench` passes, criterion measures nothing.)
step_bench() { check cargo test --benches "${features[@]}" --locked --quiet; }

# A planted bug must be found; then each target runs for a few seconds from its seeds. `make fuzz` runs them longer.
step_fuzz() {
    local ok=0 good bad
    run tests/fuzz/run.py --self-test --seconds 5 || ok=$?
    if ((ok == 77)); then
        skip "$(sed -n 's/^skipped: //p' "$log")"
        return
    fi
    good=$(sum '^fuzz: [0-9]+ passed')
    bad=$(sum ', [0-9]+ failed$')
    passed=$((passed + good))
    if ((ok != 0 || good == 0)); then fail "$good passed, $bad failed" "$((bad > 0 ? bad : 1))"; fi
}

# Licences, sources and banned crates. (Advisories need a database from beyond the registries: `make advisories`.)
step_deny() {
    PATH=$PWD/target/tools/bin:$PATH
    if ! cargo deny --version >/dev/null 2>&1 && [[ ${TICKCAST_REQUIRE_ALL:-} == 1 ]]; then
        echo "cargo-deny is built once: some minutes"
        run cargo install --locked --quiet cargo-deny --version "$cargo_deny_version" --root target/tools
    fi
    if cargo deny --version >/dev/null 2>&1; then
        check cargo deny check bans licenses sources
    else
        skip "licences and sources of dependencies: cargo-deny is not installed (cargo install --locked cargo-deny)"
    fi
}

for step in "${steps[@]}"; do
    log=$logs/$step.log
    echo "== $step"
    SECONDS=0
    failed_before=$failed
    "step_$step"
    echo "== $step: $( ((failed == failed_before)) && echo done || echo FAILED) in $SECONDS s"
    echo
done

sort -u -o "$TICKCAST_SKIPS" "$TICKCAST_SKIPS"
sed 's/^/skipped: /; s/\t/: /' "$TICKCAST_SKIPS"
for failure in "${failures[@]}"; do echo "FAILED: $failure"; done
echo "$passed passed, $failed failed, $(wc -l <"$TICKCAST_SKIPS") skipped"
((failed == 0))
