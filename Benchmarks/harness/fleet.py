"""A GateManager in a network of its own, and thousands of members that come to it from many addresses."""
import json
import os
import resource
import select
import subprocess
import time

from accounting import Process
from failure import Failure

# GateManager serves so many strangers of one address at once. Members of a fleet are at home all over the world.
ADDRESSES = 64
GATES, MEMBERS, PORT = "10.98.0", "10.99.0", 443
DESCRIPTORS_OF_A_MEMBER = 4


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


class Squad:
    """Sites and users' LinkManagers in one process; Tests/Fleet/main.swift has the commands."""

    def __init__(self, system, binaries, gate, name, sites, users):
        self.sites, self.users = sites, users
        files = []
        for kind, lines in (("sites", sites), ("users", users)):
            files.append(os.path.join(system.state, f"{name}.{kind}"))
            with open(files[-1], "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
        gates = ",".join(f"{GATES}.{number}:{PORT}" for number in range(1, ADDRESSES + 1))
        self.log = os.path.join(system.state, "log", name)
        with open(self.log, "wb") as log:
            # A thread for each member: with the stacks that threads get by default they would be 80 GB of addresses.
            self.process = system.begin(
                "pc", "prlimit", f"--stack={512 << 10}", os.path.join(binaries, "Fleet"), gates, *files,
                "Fleet-Password-1", 1, 7, gate.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def answer(self, seconds):
        """One line of JSON. Each is an answer, so that none waits behind it in a buffer where select can't see it."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failure(f"the fleet didn't answer within {seconds} s")
        line = self.process.stdout.readline()
        if not line:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise Failure(f"the fleet has ended: {' '.join(log.read().split()[-40:])}")
        return json.loads(line)


class Fleet:
    """As many squads as the limit of a process's descriptors asks for."""

    def __init__(self, system, binaries, gate, sites, users):
        names = [f"fleet-{number:05}" for number in range(sites)]
        self.squads = []
        for part in shares(names, room()):
            # A user's sessions are with sites of the same process; they take descriptors there as well.
            first = sum(len(squad.users) for squad in self.squads)
            own = [f"user-{number:03}" for number in range(first, first + -(-users * len(part) // sites))]
            self.squads.append(Squad(system, binaries, gate, f"fleet-{len(self.squads)}", part, own))
        joined = [squad.answer(300) for squad in self.squads]
        if sum(one["sites"] for one in joined) != sites:
            raise Failure(f"registered: {joined}")

    def ask(self, *words, seconds=60):
        """All of them, at the same time."""
        for squad in self.squads:
            squad.tell(*words)
        return [squad.answer(seconds) for squad in self.squads]

    def report(self):
        """How many sites are connected, and what has kept them from it."""
        reports = self.ask("report")
        problems = {}
        for one in reports:
            for problem, count in one["problems"].items():
                problems[problem] = problems.get(problem, 0) + count
        return sum(one["connected"] for one in reports), problems

    def connect(self, seconds):
        """All sites at once. Returns after how many seconds the last one was there, and what went wrong meanwhile."""
        start = time.monotonic()
        sites = sum(len(squad.sites) for squad in self.squads)
        self.ask("start", seconds=seconds)
        while True:
            connected, problems = self.report()
            passed = time.monotonic() - start
            if connected == sites:
                return passed, problems
            if passed > seconds:
                raise Failure(f"{connected} of {sites} sites connected within {seconds} s: {problems}")
            time.sleep(0.1)

    def meet(self, seconds):
        """A session with each site. Returns how many there are, and what went wrong."""
        for squad in self.squads:
            squad.tell("sessions", len(squad.sites))
        answers = [squad.answer(seconds) for squad in self.squads]
        return sum(one["sessions"] for one in answers), [error for one in answers for error in one["errors"]]


def room():
    """Members of a process: each has a socket, a poller, and what wakes and stops it, and some have sessions."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (most - 1000) // DESCRIPTORS_OF_A_MEMBER)


def shares(names, most):
    """As few parts of as equal a size as can be, none of them larger than that."""
    count = -(-len(names) // most)
    return [names[len(names) * part // count:len(names) * (part + 1) // count] for part in range(count)]
