# `make demo` and `make test` do all their set-up themselves; see README.md.
SHELL := /bin/bash
.PHONY: demo test soak programs lint dependencies bench-openvpn

# Real programs through the three hosts, in network namespaces. HOLD=1 keeps it up afterwards. Needs root.
demo:
	@HOLD='$(HOLD)' Demo/run.sh

# Unit, simulator and scenario tests. As root the scenario tests run too; otherwise they are reported as skipped.
# The scenarios run by themselves: they measure, and they have time limits. They take the hosts as they are deployed.
test: programs
	swift test --skip-build --parallel --skip '^Scenarios\.'
	RELAYVPN_BIN="$$(swift build -c release --show-bin-path)" swift test --skip-build --no-parallel --filter '^Scenarios\.'
	cd Demo/programs && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest check_capture_test

# The scenarios that take minutes as well: outages, long pauses, fleets. TESTING.md has the last figures. Needs root.
soak: programs
	RELAYVPN_SOAK=1 RELAYVPN_BIN="$$(swift build -c release --show-bin-path)" \
	  swift test --skip-build --no-parallel --filter '^Scenarios\.'

# What tests run: the hosts as they are deployed, the tests' own programs, the tests.
programs: dependencies
	@for product in gatemanager sitemanager linkmanager AllocationCheck SessionProbe Fleet Simulator StackPeer BadLink; do \
	  swift build -c release --product $$product || exit 1; \
	done
	swift build --build-tests

# The committed format, and the scripts.
lint: dependencies
	swift format lint --strict --recursive Sources $(wildcard Tests) Examples Package.swift
	shellcheck -x Demo/*.sh Tests/Scenarios/*.sh Tests/Scenarios/programs/*.sh Scripts/install-dependencies .ci/run

# iperf3 both ways through RelayVPN, through OpenVPN over TCP, and without either. Needs root.
bench-openvpn:
	@Demo/openvpn.sh

dependencies:
	@Scripts/install-dependencies
