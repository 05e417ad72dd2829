"""Measures what many idle ones cost: sites and relays at GateManager, flows at all three hosts, and the hosts as they
are when they have just started. Started by run.sh, which cleans up after it."""
import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time

import network
from accounting import Process
from failure import Failure
from fleet import Fleet, Gate, many_addresses, wait_until
from lifetime import end_with_parent
from network import PROGRAMS, System
from quiet import QUIET, background, no_sleep_states
from report import machine
from scale_report import Figures, markdown

# Sessions that one user may have.
SESSIONS_OF_A_USER = 32
SETTLING = 5
PROGRAM_OF = {"LM": ("pc", "linkmanager"), "SM": ("site", "sitemanager"), "GM": ("relay", "gatemanager")}


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh bench-scale", description=__doc__)
    parser.add_argument("--state", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sites", type=int, default=10_000, help="idle SiteManagers at one GateManager")
    parser.add_argument("--relays", type=int, default=1_000, help="idle sessions through one GateManager")
    parser.add_argument("--flows", type=int, default=2_000, help="idle TCP connections through all three hosts")
    parser.add_argument("--seconds", type=int, default=40, help="that CPU time is counted for; at least 20")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, of: %(default)s")
    parser.add_argument("--output", default=".bench", help="the directory of scale.json and scale.md")
    options = parser.parse_args()
    options.parts = options.parts.replace(",", " ").split()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"unknown: {' '.join(unknown)}")
    if min(options.sites, options.relays, options.flows) < 1 or options.seconds < 20:
        parser.error("nothing to measure, or for less than 20 seconds")
    return options


def idle_shares(processes, seconds):
    """The share of one core that each takes while nothing is asked of it, in percent."""
    start, before = time.monotonic(), [process.seconds() for process in processes]
    time.sleep(seconds)
    passed = time.monotonic() - start
    return [100 * (process.seconds() - then) / passed for process, then in zip(processes, before)]


def sites(options, system, figures):
    """GateManager with idle sites. It runs with all of them registered before the first one comes."""
    count = options.sites
    system.up()
    many_addresses(system)
    gate = Gate(system, options.binaries)
    fleet = Fleet(system, options.binaries, gate, count, 0)
    figures.noise(background())
    process = gate.start()
    time.sleep(SETTLING)
    before, descriptors = process.resident(), process.descriptors()
    figures.add("before", "RSS of GM, sites registered, none connected", before["all"] / 2**20, "MiB")
    seconds, problems = fleet.connect(300)
    time.sleep(SETTLING)
    share, = idle_shares([process], options.seconds)
    connected, later = fleet.report()
    if connected != count:
        raise Failure(f"{connected} of {count} sites stayed: {later}")
    held = process.resident()
    figures.add("with", "RSS of GM, all connected", held["all"] / 2**20, "MiB")
    figures.add("each", "RSS of GM for each idle site", (held["all"] - before["all"]) / 1024 / count, "KiB", 24)
    figures.add("cpu", "CPU of GM, idle, share of one core", share, "%", 2)
    figures.add("connected", "until all are connected, who begin at once", seconds, "s")
    figures.add("refused", "tries in vain until then", sum(problems.values()), "")
    print(f"  {problems}", file=sys.stderr)
    fleet.ask("stop", seconds=180)
    wait_until(60, "all have left", lambda: process.descriptors() <= descriptors + 8)
    time.sleep(SETTLING)
    figures.add("after", "RSS of GM after all have left", process.resident()["all"] / 2**20, "MiB")


def relays(options, system, figures):
    """GateManager with idle sessions, each of a site of its own. Users have as many as they may."""
    count = options.relays
    users = -(-count // SESSIONS_OF_A_USER)
    system.up()
    many_addresses(system)
    gate = Gate(system, options.binaries)
    fleet = Fleet(system, options.binaries, gate, count, users)
    figures.noise(background())
    process = gate.start()
    fleet.connect(120)
    time.sleep(SETTLING)
    before, descriptors = process.resident(), process.descriptors()
    idle, = idle_shares([process], options.seconds)
    met, errors = fleet.meet(300)
    if met != count:
        raise Failure(f"{met} of {count} sessions: {'; '.join(errors[:3])}")
    time.sleep(SETTLING)
    held, open_ones = process.resident(), process.descriptors()
    share, = idle_shares([process], options.seconds)
    if process.descriptors() < descriptors + 2 * count:
        raise Failure("sessions have ended meanwhile")
    figures.add("each", "RSS of GM for each idle relay", (held["all"] - before["all"]) / count, "B")
    figures.add("descriptors", "descriptors of GM for each idle relay", (open_ones - descriptors) / count, "")
    figures.add("cpu", "CPU of GM, idle, share of one core", share, "%")
    figures.add("cpu-before", "the same before, with their sites only", idle, "%")
    fleet.ask("silence", seconds=120)
    wait_until(60, "all relays have ended", lambda: process.descriptors() < descriptors + count)
    time.sleep(SETTLING)
    figures.add("after", "RSS of GM beyond what it was, after all relays have ended",
                (process.resident()["all"] - before["all"]) / 2**20, "MiB")


def hosts_of(system):
    return {name: system.hosts[host].process(program) for name, (host, program) in PROGRAM_OF.items()}


def fresh(options, system, figures):
    """The three hosts that have just started, and then with the first flows that they ever see."""
    system.up()
    figures.noise(background())
    system.start()
    time.sleep(SETTLING)
    hosts = hosts_of(system)
    for name, process in hosts.items():
        for kind, size in process.resident().items():
            figures.add(f"fresh-{name}-{kind}", f"RSS of {name}, fresh and idle"
                        + {"all": "", "anonymous": ": anonymous", "file": ": of files"}[kind], size / 2**20, "MiB")
    target = connect(options, system)
    time.sleep(SETTLING)
    before = {name: process.resident() for name, process in hosts.items()}
    for share, name in zip(idle_shares(list(hosts.values()), options.seconds), hosts):
        figures.add(f"session-cpu-{name}", f"CPU of {name} with an idle session, share of one core", share, "%")
    hold_flows(options, system, figures, hosts, before, target)


def connect(options, system):
    """Makes the session; returns the alias of the device."""
    said = system.at("pc", os.path.join(options.binaries, "linkmanager"), "connect", "site-a", "--directory",
                     os.path.join(system.state, "linkmanager"))
    for line in said.splitlines():
        if "server" in line and (found := re.search(r"\b198\.1[89]\.\d+\.\d+", line)):
            return found.group()
    raise Failure(f"no alias of the device in: {said}")


def hold_flows(options, system, figures, hosts, before, target):
    count = options.flows
    flows = system.begin("pc", sys.executable, os.path.join(PROGRAMS, "idle_flows.py"), target, 7001, count,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        held = int(flows.stdout.readline() or 0)
        if held != count:
            raise Failure(f"{held} of {count} connections came about")
        time.sleep(SETTLING)
        shares = idle_shares(list(hosts.values()), options.seconds)
        for name, process in hosts.items():
            grown = (process.resident()["all"] - before[name]["all"]) / 1024 / count
            figures.add(f"flow-{name}", f"RSS of {name} for each idle flow", grown, "KiB", 4 if name == "LM" else None)
        for share, name in zip(shares, hosts):
            figures.add(f"flow-cpu-{name}", f"CPU of {name} with idle flows, share of one core", share, "%")
    finally:
        flows.communicate("")
    time.sleep(SETTLING)
    for name, process in hosts.items():
        figures.add(f"drained-{name}", f"RSS of {name} beyond what it was, 5 s after all flows were closed",
                    (process.resident()["all"] - before[name]["all"]) / 2**20, "MiB")


# Each in a network of its own, with processes that have done nothing else.
PARTS = {"hosts": (fresh, "relayvpn-idle"), "relays": (relays, "relayvpn"), "sites": (sites, "relayvpn")}


def measure(options, figures):
    for name in options.parts:
        print(name, file=sys.stderr)
        function, system_name = PARTS[name]
        state = os.path.join(options.state, name)
        figures.begin(name, {"hosts": options.flows, "relays": options.relays, "sites": options.sites}[name])
        with System(system_name, options.prefix, state) as system:
            try:
                figures.version = figures.version or system.version()
                function(options, system, figures)
            except (Failure, OSError, ValueError, KeyError) as error:
                figures.fail(str(error) or type(error).__name__)
            finally:
                shutil.rmtree(state, ignore_errors=True)


def main():
    options = arguments()
    end_with_parent(options.state)
    options.binaries = os.environ["RELAYVPN_BIN"]
    latency = no_sleep_states()
    network.compile_programs(os.path.join(options.state, "programs"))
    figures = Figures()
    measure(options, figures)
    report = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "seconds": options.seconds, "machine": machine(), "quiet %": QUIET} | figures.report()
    text = markdown(report)
    os.makedirs(options.output, exist_ok=True)
    for kind, content in (("json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"), ("md", text)):
        with open(os.path.join(options.output, f"scale.{kind}"), "w", encoding="utf-8") as file:
            file.write(content)
    print("\n" + text)
    print(f"Written: {options.output}/scale.json, scale.md")
    if latency:
        latency.close()
    sys.exit(1 if report["failures"] else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
