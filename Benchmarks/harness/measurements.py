"""What is measured of a system that runs: each is a function from the system and the seconds to {metric: value}.

Metrics are named by what, how and unit. A value is None where the system can't do it.
"""
import json
import os
import subprocess
import sys
import time

from accounting import Meter
from network import PROGRAMS, Failure
from summary import jain

# What forwards ports instead of packets has none for UDP, and microsocks, which ends the third, neither.
WITHOUT_UDP = {"ssh", "stunnel-haproxy", "hev-socks5-tunnel"}
DIRECTIONS = {"up": [], "down": ["--reverse"], "both": ["--bidir"]}
FLOWS = 1000
BLACKHOLE = 10


def iperf3(system, seconds, *options):
    said = system.at("pc", "iperf3", "--client", system.target, "--time", seconds, "--json", *options,
                     seconds=seconds + 30)
    return said


def rates(text):
    """From iperf3's JSON: bits a second that arrived in all directions, bytes in all, and the rate of each stream."""
    result = json.loads(text)
    if "error" in result:
        raise Failure(result["error"])
    end = result["end"]
    arrived = [end[name] for name in ("sum_received", "sum_received_bidir_reverse") if name in end]
    return (sum(one["bits_per_second"] for one in arrived), sum(one["bytes"] for one in arrived),
            [stream["receiver"]["bits_per_second"] for stream in end["streams"] if "receiver" in stream])


def throughput(direction, streams):
    def measure(system, seconds):
        meter = Meter(system.hosts)
        bits, transferred, each = rates(iperf3(system, seconds, "--parallel", streams, *DIRECTIONS[direction]))
        spent = meter.spent()
        name = f"{direction}-{streams}"
        values = {f"throughput-{name} Gbit/s": bits / 1e9}
        for host, cpu in spent.items():
            values[f"cpu-{name}-{host} s/GB"] = cpu / (transferred / 1e9) if transferred else None
        if streams > 1:
            values[f"fairness-{name}"] = jain(each)
        return values
    return measure


def round_trips(system, seconds):
    return json.loads(system.at("pc", system.tool("round_trip"), system.target, 7001, seconds, seconds=seconds + 20))


def latency_idle(system, seconds):
    seen = round_trips(system, seconds)
    return {"latency-idle-p50 µs": seen["p50"], "latency-idle-p99 µs": seen["p99"]}


def latency_beside(direction):
    """Beside one TCP stream that takes what it can get, in the direction that is named."""
    def measure(system, seconds):
        bulk = system.begin("pc", "iperf3", "--client", system.target, "--time", seconds + 60, *DIRECTIONS[direction],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.7)
            seen = round_trips(system, seconds)
            if bulk.poll() is not None:
                raise Failure("the bulk stream ended early")
        finally:
            bulk.terminate()
            bulk.wait()
            time.sleep(0.5)  # iperf3's server serves one client at a time, and has to notice
        return {f"latency-{direction}-p50 µs": seen["p50"], f"latency-{direction}-p99 µs": seen["p99"]}
    return measure


def connections(system, seconds):
    seen = json.loads(system.at("pc", system.tool("connections"), system.target, 7002, seconds, 4,
                                seconds=seconds + 20))
    total = seen["finished"] + seen["failed"]
    return {"connections 1/s": seen["finished"] / seen["seconds"],
            "connections-failed %": 100 * seen["failed"] / total if total else None}


def datagrams(megabits, size=200):
    def measure(system, seconds):
        name = f"udp-{megabits}"
        if system.name in WITHOUT_UDP:
            return {f"{name}-sent 1000/s": None, f"{name}-received 1000/s": None, f"{name}-lost %": None}
        seen = json.loads(system.at("pc", system.tool("udp_flood"), system.target, 7003, seconds, size,
                                    megabits * 1e6 / 8 / size, seconds=seconds + 20))
        return {f"{name}-sent 1000/s": seen["sent"] / seen["seconds"] / 1000,
                f"{name}-received 1000/s": seen["received"] / seen["seconds"] / 1000,
                f"{name}-lost %": 100 * (1 - seen["received"] / seen["sent"])}
    return measure


def memory(system, _seconds):
    """Runs last but for `recovery`, so that the peak is that of all before. The drained figure is read after 3 s."""
    def resident():
        return {name: host.memory() for name, host in system.hosts.items()}

    before = resident()
    flows = system.begin("pc", sys.executable, os.path.join(PROGRAMS, "idle_flows.py"), system.target, 7001, FLOWS,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        held = int(flows.stdout.readline() or 0)
        time.sleep(0.5)
        during = resident()
        # The PC's processes are those of the system and the one that holds the flows.
        with open(f"/proc/{flows.pid}/status", encoding="utf-8") as file:
            own = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))
    finally:
        flows.communicate("")
    time.sleep(3)
    after = resident()
    values = {}
    for name in system.hosts:
        grown = during[name][0] - before[name][0] - (own if name == "pc" else 0)
        values[f"rss-peak-{name} MB"] = after[name][1] / 1e6
        values[f"rss-per-1000-flows-{name} MB"] = grown / 1e6 * 1000 / held if held else None
        values[f"rss-drained-{name} MB"] = after[name][0] / 1e6
    values["idle-flows"] = held
    return values


def recovery(system, _seconds):
    """After 10 s in which the relay's network passes nothing and says nothing."""
    rules = ("add table inet hole; add chain inet hole in { type filter hook input priority -300; }; "
             "add chain inet hole out { type filter hook output priority -300; }; "
             "add chain inet hole through { type filter hook forward priority -300; }; "
             "add rule inet hole in iifname public drop; add rule inet hole out oifname public drop; "
             "add rule inet hole through drop")
    process = system.begin("pc", sys.executable, os.path.join(PROGRAMS, "recovery.py"), system.target, 7001, 60,
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise Failure("no connection to begin with")
        system.at("relay", "nft", rules)
        time.sleep(BLACKHOLE)
        system.at("relay", "nft", "delete table inet hole")
        said, _ = process.communicate("\n", timeout=150)
    finally:
        process.kill()
        process.wait()
    seen = json.loads(said)
    return {"recovery-open-connection s": seen["open"], "recovery-new-connection s": seen["new"]}


# In the order in which they run. What heats up memory comes before `memory`; `recovery` may leave a system hurt.
ALL = {f"throughput-{direction}-{streams}": throughput(direction, streams)
       for streams in (1, 8, 64) for direction in DIRECTIONS}
ALL |= {"latency-idle": latency_idle, "latency-up": latency_beside("up"), "latency-down": latency_beside("down"),
        "connections": connections, "udp-400": datagrams(400), "udp-200": datagrams(200),
        "memory": memory, "recovery": recovery}
QUICK = ["throughput-up-1", "throughput-down-1", "latency-idle", "latency-up", "connections", "udp-400"]
