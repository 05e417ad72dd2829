# `make demo` and `make test` do all their set-up themselves; see README.md.
SHELL := /bin/bash
.PHONY: demo test lint dependencies bench-openvpn

# Real programs through the three hosts, in network namespaces. HOLD=1 keeps it up afterwards. Needs root.
demo:
	@HOLD='$(HOLD)' Demo/run.sh

# Unit, simulator and scenario tests. As root the scenario tests run too; otherwise they are reported as skipped.
test: dependencies
	swift build
	swift test
	cd Demo/programs && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest check_capture_test

# The committed format, and the scripts.
lint: dependencies
	swift format lint --strict --recursive Sources $(wildcard Tests) Package.swift
	shellcheck -x Demo/*.sh Scripts/install-dependencies .ci/run

# iperf3 both ways through RelayVPN, through OpenVPN over TCP, and without either. Needs root.
bench-openvpn:
	@Demo/openvpn.sh

dependencies:
	@Scripts/install-dependencies
