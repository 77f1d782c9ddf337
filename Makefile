# Everything a contributor types. `make` alone shows the list.

.DEFAULT_GOAL := help
.PHONY: help run test load delivery simulate conformance fuzz damage mutants fmt lint doc bench bench-rivals feeds advisories

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and serve the simulated market on ws://127.0.0.1:8765/ws (flags: ARGS="--symbols 50")
	@cargo build --release --locked --quiet
	@exec target/release/tickcast serve $(ARGS)

test: ## Every check there is; installs what it needs when it may (some: STEPS="format lint rust")
	@tests/run.sh $(STEPS)

load: ## The load tests in their full form; prints what they saw (one: TEST=churn; longer: TICKCAST_LOAD_SECONDS=300)
	TICKCAST_LOAD=full cargo test --release --locked --test load -- --nocapture --test-threads 1 $(TEST)

delivery: ## What docs/delivery.md promises, in full; prints what it saw (one: TEST=stalls; a run of the crowd: TICKCAST_DELIVERY_SECONDS=10)
	@tests/run.sh python
	TICKCAST_DELIVERY=full TICKCAST_PYTHON=$(CURDIR)/.venv/bin/python cargo test --release --locked --test delivery -- --nocapture --test-threads 1 $(TEST)

simulate: ## The simulation of tests/core on SEEDS=1000 seeds from SEED=0; prints what happened in them
	TICKCAST_SIMULATE_SEEDS=$(or $(SEEDS),1000) TICKCAST_SIMULATE_SEED=$(or $(SEED),0) \
	cargo test --locked --test core every_client_holds -- --nocapture

conformance: ## All 517 cases of the Autobahn suite against the echo, plain and with each kind of compression: most of an hour (some: ARGS="--modes shared --cases 13.*"); needs a Python 2.7
	cargo build --release --locked
	@python3 tests/conformance/autobahn.py --server target/release/tickcast $(ARGS)

fuzz: ## Fuzz what strangers send and what files hold, TIME=60 seconds for each target (one: TARGET=reader); needs a C++ compiler
	@tests/fuzz/run.py --self-test --seconds $(or $(TIME),60) $(TARGET)

damage: ## Check and repair a feed file cut at every byte and flipped at every bit: some minutes
	TICKCAST_FEED_DAMAGE=full cargo test --release --locked --test feed_damage -- --nocapture

mutants: ## Change one thing at a time in what delivers and see that a test fails, for hours (some: ARGS="--re outbox"; every tenth: ARGS="--shard 0/10 --sharding round-robin")
	@test -x target/tools/bin/cargo-mutants || cargo install --locked --quiet cargo-mutants --version 27.0.0 --root target/tools
	PATH="$(CURDIR)/target/tools/bin:$$PATH" PROPTEST_CASES=64 TICKCAST_SIMULATE_SEEDS=100 cargo mutants --output target $(ARGS)

fmt: ## Format the code
	cargo fmt
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

lint: ## Format check and clippy, warnings denied
	@tests/run.sh format lint

doc: ## Build the documentation of the crate, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features parquet --locked

bench: ## Run the benchmarks (one: BENCH=encode)
	cargo bench --locked $(if $(BENCH),--bench $(BENCH))

# The rivals first: with them cargo builds tickcast as tests have it, and then as it is used.
bench-rivals: ## Tickcast and its rivals in turns, half an hour (some: WORKLOAD="fanout-1x1000:16 latency-1" SERVERS="tickcast raw"; RUNS=7, SECONDS=2)
	@npm install --prefix benches/rivals --no-audit --no-fund --loglevel=error || echo "npm failed; rivals that it brings are skipped"
	@mkdir -p target
	cargo build --release --locked --bench rivals --message-format json-render-diagnostics >target/bench-rivals.json
	cargo build --release --locked
	@python3 benches/rivals/compare.py --cargo-messages target/bench-rivals.json --runs $(or $(RUNS),7) --seconds $(or $(SECONDS),2) \
	$(if $(WORKLOAD),--workload "$(WORKLOAD)") $(if $(SERVERS),--servers "$(SERVERS)") $(ARGS)

feeds: ## Make the files of feeds/ anew, by the commands in feeds/README.md
	@cargo build --release --locked --quiet
	@rm -f feeds/*.feed
	@sed -n 's/^tickcast \(simulate .*\)/\1/p' feeds/README.md | while read -r arguments; do target/release/tickcast $$arguments || exit; done

advisories: ## Look the dependencies up in the RustSec database (needs cargo-deny and a network)
	cargo deny check advisories
