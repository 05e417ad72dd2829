"""Measures the systems in interleaved rounds and writes what came out. Started by run.sh, which cleans up after it."""
import argparse
import datetime
import json
import os
import shutil
import sys

import measurements
import network
import proof
from lifetime import end_with_parent
from network import Failure, System
from plot import svg
from quiet import QUIET, background, no_sleep_states
from report import machine, markdown
from summary import collect

DEFAULT = ["raw", "relayvpn", "openvpn-tcp", "stunnel-haproxy", "openvpn-udp", "ssh", "wireguard-go", "nebula"]
QUICK = ["raw", "relayvpn", "openvpn-tcp", "stunnel-haproxy"]
GIVEN = {"wireguard-go-given": "BENCH_WIREGUARD_GO", "hev-socks5-tunnel": "BENCH_HEV_SOCKS5_TUNNEL"}


def words(text):
    return [word for word in text.replace(",", " ").split() if word]


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh TARGET", description=__doc__)
    parser.add_argument("--state", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one round of the main figures of the main systems")
    parser.add_argument("--systems", type=words, help="which, in what order")
    parser.add_argument("--metrics", type=words, help="which; a name's beginning stands for all that begin so")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each figure")
    parser.add_argument("--offloads", choices=["on", "off"], default="on", help="of the virtual links")
    parser.add_argument("--output", default=".bench", help="the directory of results.json, results.md, results.svg")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.systems = options.systems or (QUICK if options.quick else
                                          DEFAULT + [name for name, given in GIVEN.items() if os.environ.get(given)])
    wanted = options.metrics or (measurements.QUICK if options.quick else list(measurements.ALL))
    options.metrics = [name for name in measurements.ALL if any(name.startswith(one) for one in wanted)]
    unknown = [name for name in options.systems if name not in network.names()]
    if unknown or not options.metrics or options.rounds < 1 or options.seconds < 1:
        parser.error(f"unknown: {' '.join(unknown)}" if unknown else "nothing to measure")
    missing = [GIVEN[name] for name in options.systems if name in GIVEN and not os.environ.get(GIVEN[name])]
    if missing:
        parser.error(f"{missing[0]} must name a binary")
    return options


class Run:
    """All rounds, and what is known so far."""

    def __init__(self, options):
        self.options = options
        self.samples, self.failures, self.proofs, self.versions = [], [], {}, {}
        self.background = 0.0

    def fail(self, number, system, what, error):
        self.failures.append({"round": number, "system": system, "what": what, "text": str(error)})
        print(f"  FAILED {what}: {error}", file=sys.stderr)

    def all(self):
        for number in range(1, self.options.rounds + 1):
            # Another one goes first each time, so that none is always measured after the same neighbour.
            shift = (number - 1) % len(self.options.systems)
            for name in self.options.systems[shift:] + self.options.systems[:shift]:
                print(f"round {number}, {name}", file=sys.stderr)
                try:
                    self.one(number, name)
                except Failure as error:
                    self.fail(number, name, "start and proof", error)
        return {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "rounds": self.options.rounds, "seconds": self.options.seconds, "offloads": self.options.offloads,
            "machine": machine(), "background %": self.background, "quiet %": QUIET, "versions": self.versions,
            "proofs": self.proofs, "failures": self.failures,
            "results": {name: metrics for name, metrics in collect(
                [(name, {}) for name in self.options.systems] + [(name, values) for _, name, values in self.samples]
            ).items() if metrics},
            "samples": [{"round": number, "system": name, "values": values} for number, name, values in self.samples]}

    def one(self, number, name):
        options = self.options
        state = os.path.join(options.state, f"{name}-{number}")
        with System(name, options.prefix, state, options.offloads == "on") as system:
            try:
                if name not in self.proofs:
                    self.versions[name] = system.version()
                system.up()
                if name not in self.proofs:
                    proof.out_of_reach(system)
                self.background = max(self.background, background())
                system.start()
                if name not in self.proofs:
                    self.proofs[name] = proof.carries(system)
                    print(f"  proof: {self.proofs[name]}", file=sys.stderr)
                for metric in options.metrics:
                    try:
                        values = measurements.ALL[metric](system, options.seconds)
                    except (Failure, ValueError, KeyError, OSError) as error:
                        self.fail(number, name, metric, error)
                        continue
                    self.samples.append((number, name, values))
                    print("  " + ", ".join(f"{key} {value:.4g}" if value is not None else f"{key} –"
                                           for key, value in values.items()), file=sys.stderr)
            finally:
                shutil.rmtree(state, ignore_errors=True)


def main():
    options = arguments()
    end_with_parent(options.state)
    latency = no_sleep_states()
    network.compile_programs(os.path.join(options.state, "programs"))
    report = Run(options).all()
    os.makedirs(options.output, exist_ok=True)
    texts = {"json": json.dumps(report, indent=1, ensure_ascii=False) + "\n", "md": markdown(report),
             "svg": svg(report["results"])}
    for kind, text in texts.items():
        with open(os.path.join(options.output, f"results.{kind}"), "w", encoding="utf-8") as file:
            file.write(text)
    print("\n" + texts["md"])
    print(f"Written: {options.output}/results.json, results.md, results.svg")
    if latency:
        latency.close()
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
