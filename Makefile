# `make demo` and `make test` do all their set-up themselves; see README.md.
SHELL := /bin/bash
.PHONY: demo test soak programs lint dependencies bench bench-quick bench-openvpn bench-tap bench-capture bench-scale bench-stack stages stages-check stages-accept fuzz fuzz-ci fuzz-bulk fuzz-merge fuzz-coverage

# Real programs through the three hosts, in network namespaces. HOLD=1 keeps it up afterwards. Needs root.
demo:
	@HOLD='$(HOLD)' Demo/run.sh

# Unit, simulator and scenario tests. As root the scenario tests run too; otherwise they are reported as skipped.
# The scenarios run by themselves: they measure, and they have time limits. They take the hosts as they are deployed.
test: programs
	swift test --skip-build --parallel --skip '^Scenarios\.'
	RELAYVPN_BIN="$$(swift build -c release --show-bin-path)" swift test --skip-build --no-parallel --filter '^Scenarios\.'
	cd Demo/programs && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest check_capture_test
	cd Benchmarks/harness && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest accounting_test summary_test report_test \
	  stage_counts_test stage_figures_test fleet_test scale_report_test

# The scenarios that take minutes as well: outages, long pauses, fleets. TESTING.md has the last figures. Needs root.
soak: programs
	RELAYVPN_SOAK=1 RELAYVPN_BIN="$$(swift build -c release --show-bin-path)" \
	  swift test --skip-build --no-parallel --filter '^Scenarios\.'

# What tests run: the hosts as they are deployed, the tests' own programs, the tests. Swift's runtime is part of each
# program: it needs nothing of the toolchain where it runs, and a tenth less memory.
programs: dependencies
	@for product in gatemanager sitemanager linkmanager AllocationCheck SessionProbe Fleet Simulator StackPeer BadLink; do \
	  swift build -c release --static-swift-stdlib --product $$product || exit 1; \
	done
	swift build --build-tests

# The committed format, and the scripts.
lint: dependencies
	swift format lint --strict --recursive Sources $(wildcard Tests) Examples Package.swift \
	  $(addprefix Benchmarks/Stages/,Sources Benchmarks Package.swift) $(addprefix Fuzz/,Sources Package.swift)
	shellcheck -x Benchmarks/*.sh Benchmarks/systems/*.sh Benchmarks/install-dependencies Demo/*.sh Tests/Scenarios/*.sh Tests/Scenarios/programs/*.sh Scripts/install-dependencies Scripts/relayvpn-extcap .ci/run

# This product beside what would be used instead, from Debian's packages, in interleaved rounds of one run. Needs root.
# BENCH_SYSTEMS, BENCH_METRICS, ROUNDS (5), SECONDS (3, of each figure) and OFFLOADS (on) may be set. The result is
# printed, and written to .bench. Benchmarks/README.md says what is measured and how.
bench:
	@Benchmarks/run.sh bench $(bench_options)

# The main figures of the main systems, once, in under two minutes.
bench-quick:
	@Benchmarks/run.sh bench-quick --quick $(bench_options)

# One connection with iperf3 both ways through RelayVPN, through OpenVPN over TCP, and without either.
bench-openvpn: BENCH_SYSTEMS ?= raw,relayvpn,openvpn-tcp
bench-openvpn: BENCH_METRICS ?= throughput-up-1,throughput-down-1
bench-openvpn: ROUNDS ?= 3
bench-openvpn: SECONDS ?= 5
bench-openvpn:
	@Benchmarks/run.sh bench-openvpn $(bench_options)

# Layer 2: IP over the PC's TAP device, beside OpenVPN's tap mode and this product's TUN device.
bench-tap: BENCH_SYSTEMS ?= relayvpn,relayvpn-tap,openvpn-tap
bench-tap: BENCH_METRICS ?= throughput,latency-idle
bench-tap: ROUNDS ?= 3
bench-tap:
	@Benchmarks/run.sh bench-tap $(bench_options)

# What a capture costs that runs on the PC, beside the same without one.
bench-capture: BENCH_SYSTEMS ?= relayvpn,relayvpn-capture
bench-capture: BENCH_METRICS ?= throughput-up-1,throughput-down-1,latency-idle
bench-capture: ROUNDS ?= 3
bench-capture:
	@Benchmarks/run.sh bench-capture $(bench_options)

# What very many cost that are idle: 10,000 SiteManagers and 1,000 relays at one GateManager, 2,000 TCP flows through all
# three hosts, and the hosts when they have just started. SITES, RELAYS, FLOWS, SCALE_SECONDS (40, of CPU time; at least
# 20) and SCALE_PARTS (hosts,relays,sites) may be set. Printed, and written to .bench as scale.md and scale.json.
bench-scale:
	@Benchmarks/run.sh bench-scale $(if $(SITES),--sites '$(SITES)') $(if $(RELAYS),--relays '$(RELAYS)') \
	  $(if $(FLOWS),--flows '$(FLOWS)') $(if $(SCALE_SECONDS),--seconds '$(SCALE_SECONDS)') \
	  $(if $(SCALE_PARTS),--parts '$(SCALE_PARTS)')

bench_options = $(if $(BENCH_SYSTEMS),--systems '$(BENCH_SYSTEMS)') $(if $(BENCH_METRICS),--metrics '$(BENCH_METRICS)') \
  $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(OFFLOADS),--offloads '$(OFFLOADS)')

# Each stage of the data path alone: times, rates, allocations, instructions. Benchmarks/README.md says what they are.
stages: dependencies
	@PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/harness/stages.py show

# The stack on a TUN device without crypto, beside hev-socks5-tunnel where BENCH_HEV_SOCKS5_TUNNEL names it. Needs root.
bench-stack: dependencies
	cd Benchmarks/Stages && STAGES_COUNTS_ONLY=1 swift build -c release --product StackServer
	@PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/harness/stack_beside.py Benchmarks/Stages/.build/release/StackServer

# Fails if a stage allocates more, or takes more instructions, than Benchmarks/Stages/counts.json says.
stages-check: dependencies
	@PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/harness/stages.py check

# Takes what the stages cost now as what they may cost.
stages-accept: dependencies
	@PYTHONDONTWRITEBYTECODE=1 python3 Benchmarks/harness/stages.py accept

# The fuzzers, one after another: TIME seconds each (60), TARGET one of them alone. Fuzz/README.md says what they are.
fuzz: dependencies
	@Fuzz/fuzz.py run --seconds $(or $(TIME),60) $(if $(TARGET),--target $(TARGET))

# Each fuzzer on its committed corpus and on, two at a time.
fuzz-ci: dependencies
	@Fuzz/fuzz.py ci --jobs 2 --seconds $(or $(TIME),20)

# Many executions instead of clever ones: the committed corpora, changed at random, without libFuzzer.
fuzz-bulk: dependencies
	@Fuzz/fuzz.py bulk --seconds $(or $(TIME),60) $(if $(TARGET),--target $(TARGET))

# Takes what `make fuzz` has found into the committed corpora, as far as it reaches more.
fuzz-merge: dependencies
	@Fuzz/fuzz.py merge $(if $(TARGET),--target $(TARGET))

# Which lines of the parsers the committed corpora reach.
fuzz-coverage: dependencies
	@Fuzz/fuzz.py coverage

dependencies:
	@Scripts/install-dependencies
