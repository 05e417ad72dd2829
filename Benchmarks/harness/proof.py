"""What a system must show before it is measured: the device is out of reach without it, a file comes through both ways
unharmed, and the relay's network sees none of its content."""
import os
import signal
import subprocess
import sys
import time

from network import BENCHMARKS, DEVICE, PROGRAMS, Failure

MARKER = b"RVPLAIN-benchmark-content"
SIZE = 4 << 20
PROBE = os.path.join(os.path.dirname(BENCHMARKS), "Demo", "programs", "probe.py")
# Everyone can read what the kernel only routes. It must be found there, or the search proves nothing.
READABLE = {"raw"}


def content():
    """Random, with the marker in every 256 bytes, so that it lies in each packet and across the edge of few."""
    block = len(MARKER)
    return b"".join(MARKER + os.urandom(256 - block) for _ in range(SIZE // 256))


def out_of_reach(system):
    """Neither the PC's own routes nor one by hand lead to the device while the system isn't there."""
    def connected():
        try:
            system.at("pc", sys.executable, PROBE, DEVICE, 7001, 1)
        except Failure:
            return False
        return True

    if connected():
        raise Failure("the device can be reached without it")
    route = [f"{DEVICE}/32", "via", "203.0.113.1"]
    system.at("pc", "ip", "route", "add", *route)
    reached = connected()
    system.at("pc", "ip", "route", "delete", *route)
    if reached:
        raise Failure("the device can be reached without it, by a route through the relay")


def carries(system):
    """The file there and back; what the relay's network saw of it is in a capture."""
    path, capture = os.path.join(system.state, "content"), os.path.join(system.state, "capture")
    with open(path, "wb") as file:
        file.write(content())
    tcpdump = system.begin("relay", "tcpdump", "-i", "public", "-n", "-s", "0", "-B", "65536", "-w", capture,
                           stderr=subprocess.PIPE)
    try:
        for line in tcpdump.stderr:
            if b"listening on" in line:
                break
        said = system.at("pc", sys.executable, os.path.join(PROGRAMS, "files.py"), "exchange", system.target, 7004,
                         path).strip()
        time.sleep(0.5)
    finally:
        tcpdump.send_signal(signal.SIGINT)
        tcpdump.communicate(timeout=10)
    with open(capture, "rb") as file:
        seen = file.read()
    os.remove(capture)
    # The least that the capture must hold: the file came through the relay and not by some other way.
    if len(seen) < 2 * SIZE:
        raise Failure(f"only {len(seen)} bytes passed the relay: {said}")
    readable = seen.count(MARKER)
    if (readable > 0) != (system.name in READABLE):
        raise Failure(f"the marker was seen {readable} times at the relay: {said}")
    return f"{said}; {len(seen)} bytes at the relay, the marker {readable} times in them"
