"""A GateManager in a network of its own, and thousands of members that come to it from many addresses."""
import json
import os
import select
import subprocess
import time

from accounting import Process
from failure import Failure

# GateManager serves so many strangers of one address at once. Members of a fleet are at home all over the world.
ADDRESSES = 64
GATES, MEMBERS, PORT = "10.98.0", "10.99.0", 443


def many_addresses(system):
    """64 addresses of the PC's namespace, each of which is the way to another address of GateManager."""
    pc, relay = f"{system.prefix}-pc", f"{system.prefix}-relay"
    lines = [f"address add {MEMBERS}.{number}/32 dev wan\n"
             f"route add {GATES}.{number}/32 via 203.0.113.1 src {MEMBERS}.{number}\n" for number in
             range(1, ADDRESSES + 1)]
    batch(system, pc, "".join(lines))
    batch(system, relay, f"route add local {GATES}.0/24 dev lo\nroute add {MEMBERS}.0/24 via 203.0.113.10\n")


def batch(system, namespace, commands):
    path = os.path.join(system.state, "ip.batch")
    with open(path, "w", encoding="utf-8") as file:
        file.write(commands)
    done = subprocess.run(["ip", "-n", namespace, "-batch", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"ip: {done.stderr.strip()}")


def wait_until(seconds, what, condition):
    """Returns how many seconds it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return time.monotonic() - start


class Gate:
    """A GateManager that is set up, and runs from `start` on."""

    def __init__(self, system, binaries):
        self.system = system
        self.program = os.path.join(binaries, "gatemanager")
        self.directory = os.path.join(system.state, "gatemanager")
        system.at("relay", self.program, "init", "--directory", self.directory, "--name", "gm.example")

    def start(self):
        log = os.path.join(self.system.state, "log", "gatemanager")
        with open(log, "wb") as file:
            running = self.system.begin("relay", self.program, "run", "--directory", self.directory, "--listen",
                                        f"0.0.0.0:{PORT}", stdin=subprocess.DEVNULL, stdout=file, stderr=file)

        def listening():
            if running.poll() is not None:
                raise Failure(f"gatemanager: exit status {running.returncode}")
            with open(log, encoding="utf-8", errors="replace") as file:
                return "listening" in file.read()

        wait_until(30, "GateManager listens", listening)
        return Process(running.pid)


class Fleet:
    """Sites and users' LinkManagers in one process; Tests/Fleet/main.swift has the commands."""

    def __init__(self, system, binaries, gate, sites, users):
        names = {"codes": [f"fleet-{number:05}" for number in range(sites)],
                 "users": [f"user-{number:03}" for number in range(users)]}
        for name, lines in names.items():
            with open(os.path.join(system.state, name), "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
        gates = ",".join(f"{GATES}.{number}:{PORT}" for number in range(1, ADDRESSES + 1))
        self.log = os.path.join(system.state, "log", "fleet")
        with open(self.log, "wb") as log:
            # A thread for each member: with the stacks that the kernel gives by default there would be no room for them.
            self.process = system.begin(
                "pc", "prlimit", f"--stack={512 << 10}", os.path.join(binaries, "Fleet"), gates,
                os.path.join(system.state, "codes"), os.path.join(system.state, "users"), "Fleet-Password-1", 1, 7,
                gate.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        joined = self._answer(300, "registration")
        if joined["sites"] != sites or joined["links"] != users:
            raise Failure(f"registered: {joined}")

    def ask(self, *words, seconds=60):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()
        return self._answer(seconds, words[0])

    def _answer(self, seconds, what):
        """One line of JSON. Lines come one at a time, as each is an answer: nothing is left in a buffer."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failure(f"the fleet didn't answer within {seconds} s: {what}")
        line = self.process.stdout.readline()
        if not line:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise Failure(f"the fleet has ended: {what}: {' '.join(log.read().split()[-40:])}")
        return json.loads(line)

    def connect(self, sites, seconds):
        """All sites at once. Returns after how many seconds the last one was there."""
        start = time.monotonic()
        report = self.ask("start", seconds=seconds)
        while report["connected"] < sites:
            if time.monotonic() - start > seconds:
                raise Failure(f"{report['connected']} of {sites} sites connected within {seconds} s: "
                              f"{report['problems']}")
            time.sleep(0.1)
            report = self.ask("report")
        return time.monotonic() - start
