# One line per thing to do; what takes more is a script or a subcommand.

# What builds the program, and what the tests send calls with.
BUILD_PACKAGES = ca-certificates cmake g++ make python3
TEST_PACKAGES = baresip chromium chromium-driver curl faketime ffmpeg gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-tools \
	prometheus rtpengine-daemon sip-tester systemd

# What the benches compare with.
BENCH_PACKAGES = gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-tools openssl util-linux

# Most tests wait for audio to be spoken: more of them at once than there are cores.
TEST_THREADS = 8

# What `make fuzz` runs, and for how long.
TARGET = datagrams
SECONDS = 300

.PHONY: help demo build deb model test chaos fuzz test-systemd check-reproducible check check-systemd eval bench instructions lint docs packages test-packages

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: model build ## Play a Mandarin call into the daemon and show what it understands
	@target/release/callscribe demo

build: packages ## Build the program, optimised
	cargo build --release --locked

deb: packages ## Build the Debian package
	scripts/make-deb

test-systemd: packages ## Install the package in a container; restart, kill, upgrade, remove it there
	scripts/test-systemd

check-reproducible: packages ## Build the package twice, elsewhere each time, and compare
	scripts/check-reproducible

model: packages ## Fetch the recogniser's model, once
	@python3 -m pip --version >/dev/null 2>&1 || scripts/need-packages python3-pip
	@python3 scripts/fetch-model

test: test-packages model ## Run all tests
	cargo test --locked -- --test-threads=$(TEST_THREADS)

chaos: packages ## Run twenty calls against every fault of a recogniser, for minutes
	CALLSCRIBE_LONG=1 cargo test --locked --test daemon spool::chaos -- --nocapture

# New inputs go to target/fuzz/corpus; tests/fuzz/README.md says what becomes of them. RUSTC_BOOTSTRAP lets the stable
# compiler count what is covered.
fuzz: packages ## Look for inputs that break what reads foreign bytes (TARGET=datagrams SECONDS=300)
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	mkdir -p target/fuzz/corpus/$(TARGET)
	cd tests/fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . --target-dir ../../target/fuzz -s none $(TARGET) \
		../../target/fuzz/corpus/$(TARGET) corpus/$(TARGET) -- -max_total_time=$(SECONDS)

check: test-packages model lint docs check-systemd instructions ## Everything a change must pass
	scripts/check-configs
	scripts/check-units
	cargo test --locked -- --test-threads=$(TEST_THREADS)

# The short form of test-systemd, with the program that the other tests build.
check-systemd: packages
	scripts/test-systemd --brief

# Without Silero or the model there are dashes in the table, and it is said why.
eval: packages ## Measure voice activity, utterances and cuts (EVAL="FOLDER --only noise")
	@scripts/need-packages valgrind
	@python3 -m pip --version >/dev/null 2>&1 || scripts/need-packages python3-pip
	-@scripts/fetch-silero
	-@python3 scripts/fetch-model
	cargo run --release --locked --manifest-path eval/Cargo.toml --target-dir target -- $(EVAL)

# The packet path is the release's; only the recogniser of `callscribe service` is left out, which nobody asks here.
bench: packages ## Measure what a stream costs, beside its yardsticks, in a quarter of an hour (BENCH="--quick")
	scripts/need-packages $(BENCH_PACKAGES)
	@# Node.js from elsewhere brings its own npm, and Debian's does not go with it.
	@command -v npm >/dev/null || scripts/need-packages nodejs npm
	cargo build --profile bench --locked --no-default-features --bin callscribe --target-dir target/bench
	cargo run --release --locked --manifest-path benches/Cargo.toml --target-dir target/bench --bin load -- $(BENCH)

instructions: packages ## Count the instructions of the packet path; fail if they grew (INSTRUCTIONS=--keep)
	scripts/need-packages valgrind
	scripts/count-instructions $(INSTRUCTIONS)

lint: packages
	cargo fmt --check
	cargo fmt --check --manifest-path eval/Cargo.toml
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --locked --manifest-path eval/Cargo.toml --target-dir target -- -D warnings

docs: packages
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

packages:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 69; }
	@scripts/need-packages $(BUILD_PACKAGES)

test-packages: packages
	@scripts/need-packages $(TEST_PACKAGES)
