# The commands of a contributor and of CI. They need a Rust toolchain; `make test` installs QEMU, Python's client,
# and a C compiler, where they are missing.

# Debian keeps qemu-ga in /usr/sbin, which an ordinary user's PATH leaves out.
export PATH := $(PATH):/usr/sbin:/sbin

NO_STD = cargo build --manifest-path tests/no-std/Cargo.toml

# How long each fuzz target runs.
SECONDS = 60

# The Debian suites whose QEMU the tests run with: 5.2, 7.2, 10.0 and 11.1.
SUITES = bullseye bookworm trixie trixie-backports

.PHONY: ci test test-starts test-versions $(SUITES:%=test-%) shuttle lint no-std fuzz deny release-check bench-check coverage

# Everything a change has to pass.
ci:
	.ci/run

# All tests, those against real QEMU and with Python's client included: without these they fail here, while a bare
# `cargo test` leaves them out.
test:
	scripts/install-cc
	scripts/install-qemu
	scripts/install-python-client
	QMP_REQUIRE_QEMU=1 cargo test --workspace --all-features
	cargo test -p qmp-proto
	cargo test -p qmp-proto --no-default-features
	cargo test -p qmp-server

# The tests that start servers, with the QEMU of each suite; `make test-trixie` runs them with one. Not a part of CI: it
# downloads 50 MB for each suite, once, and takes some minutes for each.
test-versions: $(SUITES:%=test-%)

$(SUITES:%=test-%): test-%:
	scripts/install-cc
	scripts/install-python-client
	programs=$$(scripts/unpack-qemu $*) && PATH="$$programs:$$PATH" QMP_REQUIRE_QEMU=1 \
		cargo test --workspace --exclude qmp-properties --all-features --no-fail-fast --test '*'

# Clients that connect while a server starts, in so many starts. Not a part of CI: it takes minutes.
STARTS = 5000
test-starts:
	scripts/install-qemu
	QMP_REQUIRE_QEMU=1 QMP_STARTS=$(STARTS) cargo test --release -p qmp-tests --test real_starting -- \
		--ignored --nocapture

# The races of what threads and tasks share, in many orders. It has a target folder of its own, as its flag would
# have everything built anew.
shuttle:
	RUSTFLAGS="--cfg qmp_shuttle" cargo test -p qmp-client --features async-io --test locking --release \
		--target-dir target/shuttle

lint:
	cargo fmt --all --check
	cargo fmt --manifest-path tests/no-std/Cargo.toml --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path bench/Cargo.toml --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	scripts/lint-features
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# qmp-proto and qmp-server without std, in the versions that the workspace's lock file names. The second build is the check's own test:
# the feature `deep` brings std in, so there the build has to fail, and for that reason.
no-std:
	cp Cargo.lock tests/no-std/Cargo.lock
	$(NO_STD)
	@if out=$$($(NO_STD) --features deep 2>&1) || ! printf '%s\n' "$$out" | grep -q 'duplicate lang item'; then \
		printf '%s\n' "$$out" "With the feature deep the build had to fail on a duplicate lang item, and did not." >&2; exit 1; \
	fi
	@echo "qmp-proto and qmp-server do not link std; with the feature deep, which does, the check fails as it should"

# Needs a nightly toolchain; cargo-fuzz is installed where it is missing.
fuzz:
	scripts/fuzz run $(SECONDS)

# What the dependencies bring in: licenses, sources, known faults. cargo-deny is installed where it is missing.
deny:
	scripts/deny

# For maintainers, before a release.
release-check:
	scripts/release-check

# Instructions of the core's workloads, against limits 10 % above what they were: for maintainers, and no part of CI, since
# the counts depend on the compiler and, a little, on the processor.
bench-check:
	scripts/install-valgrind
	cargo run --release --quiet --manifest-path bench/Cargo.toml -p bench-core --bin bench-core --no-default-features -- \
		check bench/core/limits.txt

# For maintainers: which lines of the core no test reaches.
coverage:
	scripts/coverage
