"""`make bench-stack`: the stack on a TUN device, without crypto, beside hev-socks5-tunnel.

usage: stack_beside.py STACK-SERVER

Both take the same connections of the same program through a TUN device. Ours ends them in the stack's own process, which
drops and makes payload; hev-socks5-tunnel has to hand them to a SOCKS5 server (microsocks), beyond a veth pair, which
connects to the program's other end. Without BENCH_HEV_SOCKS5_TUNNEL ours is measured alone. ROUNDS and SECONDS may be
set. Exit status: 0 if each gave every figure, 1 if not, 2 if it can't run.
"""
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from accounting import machine_seconds
from network import Failure, PROGRAMS, run
from report import figure, machine

PREFIX = os.environ.get("RELAYVPN_DEMO_PREFIX", "rvstack")
PC, SITE = f"{PREFIX}-pc", f"{PREFIX}-site"
NEAR, FAR, TARGET = "10.5.0.1", "10.5.0.2", "10.6.0.2"
PORTS = {"up": "7100", "down": "7101"}
# As the hosts set it: super-segments of a window wait in the device.
QUEUE = "4000"


def at(namespace, *command, seconds=30):
    return run(["ip", "netns", "exec", namespace, *map(str, command)], seconds)


class Bench:
    """Two namespaces, and the processes in them. As a context all is gone at its end."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def __enter__(self):
        self.remove()
        for name in (PC, SITE):
            run(["ip", "netns", "add", name], 10)
            at(name, "ip", "link", "set", "lo", "up")
            at(name, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno")
        run(["ip", "link", "add", "near", "netns", PC, "type", "veth", "peer", "far", "netns", SITE], 10)
        for name, link, address in ((PC, "near", NEAR), (SITE, "far", FAR)):
            at(name, "ip", "addr", "add", f"{address}/24", "dev", link)
            at(name, "ip", "link", "set", link, "up")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        self.remove()

    @staticmethod
    def remove():
        for name in (PC, SITE):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def begin(self, namespace, *command):
        log = open(os.path.join(self.folder, "log"), "ab")
        self.processes.append(subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def route(self, device):
        """Leads the target into the device, once it is there."""
        for _ in range(100):
            found = subprocess.run(["ip", "-n", PC, "link", "show", device], capture_output=True, check=False)
            if found.returncode == 0:
                break
            time.sleep(0.05)
        at(PC, "ip", "link", "set", device, "up", "txqueuelen", QUEUE)
        at(PC, "ip", "route", "add", f"{TARGET}/32", "dev", device, "src", NEAR)


def start_ours(bench, server, _bulk):
    bench.begin(PC, server, "bulk0")
    bench.route("bulk0")


def start_hev(bench, server, bulk):
    at(SITE, "ip", "addr", "add", f"{TARGET}/32", "dev", "lo")
    bench.begin(SITE, bulk, "serve", PORTS["up"], PORTS["down"])
    bench.begin(SITE, "microsocks", "-i", FAR, "-p", "1080")
    settings = pathlib.Path(bench.folder, "hev.yml")
    settings.write_text(f"tunnel: {{ name: hev0, mtu: 8500, ipv4: 10.7.0.1 }}\n"
                        f"socks5: {{ address: {FAR}, port: 1080 }}\nmisc: {{ log-level: warn }}\n", encoding="utf-8")
    bench.begin(PC, server, str(settings))
    bench.route("hev0")


def measure(bulk, direction, seconds):
    """Gbit/s of what went, and CPU seconds of the whole machine per GB."""
    before = machine_seconds()
    told = json.loads(at(PC, bulk, TARGET, PORTS[direction], direction, seconds, seconds=seconds + 20))
    # The half second that isn't counted cost as much as the others.
    busy = (machine_seconds() - before) * told["seconds"] / (told["seconds"] + 0.5)
    return told["bytes"] * 8e-9 / told["seconds"], busy / (told["bytes"] * 1e-9)


def main(server):
    rounds, seconds = int(os.environ.get("ROUNDS", 5)), float(os.environ.get("SECONDS", 3))
    systems = {"relayvpn": (start_ours, server)}
    if given := os.environ.get("BENCH_HEV_SOCKS5_TUNNEL"):
        systems["hev-socks5-tunnel"] = (start_hev, given)
    figures = {}
    with tempfile.TemporaryDirectory() as folder, open("/dev/cpu_dma_latency", "wb", buffering=0) as latency:
        latency.write(bytes(4))
        bulk = os.path.join(folder, "bulk")
        run(["gcc", "-O2", "-pthread", "-o", bulk, os.path.join(PROGRAMS, "bulk.c")], 60)
        for _ in range(rounds):
            for name, (start, program) in systems.items():
                with Bench(folder) as bench:
                    start(bench, program, bulk)
                    time.sleep(0.5)
                    for direction in PORTS:
                        try:
                            rate, cost = measure(bulk, direction, seconds)
                        except Failure as failure:
                            said = pathlib.Path(folder, "log").read_text(encoding="utf-8", errors="replace")
                            raise Failure(f"{name}, {direction}: {failure}\n{said[-2000:]}") from None
                        figures.setdefault(f"{direction} Gbit/s", {}).setdefault(name, []).append(rate)
                        figures.setdefault(f"{direction} CPU s/GB", {}).setdefault(name, []).append(cost)
    about = machine()
    print(f"One TCP connection through a TUN device and a stack, no crypto. Medians of {rounds} rounds, {seconds:g} s each, "
          f"smallest and largest in brackets. {about['cpus']} CPUs, {about['model']}, Linux {about['kernel']}.\n")
    print("| | " + " | ".join(systems) + " | times |\n|---|" + "---:|" * (len(systems) + 1))
    for metric, values in figures.items():
        cells = [f"{figure(statistics.median(v))} ({figure(min(v))}–{figure(max(v))})" for v in values.values()]
        medians = [statistics.median(v) for v in values.values()]
        times = f"{medians[0] / medians[1]:.2f}" if len(medians) > 1 else "–"
        print(f"| {metric} | " + " | ".join(cells) + f" | {times} |")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if os.geteuid() != 0:
        print("This cannot run here: it makes networks.\nWhat to do: run it as root", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1]))
    except Failure as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
