"""A system that runs in its namespaces, and commands in them."""
import os
import signal
import subprocess
import sys

from accounting import Host
from failure import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
BENCHMARKS = os.path.dirname(HERE)
SCRIPT = os.path.join(BENCHMARKS, "system.sh")
PROGRAMS = os.path.join(BENCHMARKS, "programs")
HOSTS = {"pc": "pc", "relay": "relay", "site": "site-a"}
DEVICE = "192.168.10.30"


def run(command, seconds, **options):
    """The command's output. Of a failure the last lines of what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
                              check=False, **options)
    except subprocess.TimeoutExpired:
        raise Failure(f"{os.path.basename(command[0])} did not end within {seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-40:]
        raise Failure("\n".join(said) or f"exit status {done.returncode}")
    return done.stdout


def names():
    """All systems, without what only others include or is measured by itself."""
    found = {name[:-3] for name in os.listdir(os.path.join(BENCHMARKS, "systems")) if name.endswith(".sh")}
    return found - {"openvpn", "relayvpn-idle"}


class System:
    """One system, started afresh. As a context it is gone at the end, with all that runs in its namespaces."""

    def __init__(self, name, prefix, state, offloads=True):
        self.name, self.prefix, self.state = name, prefix, state
        self.programs = os.path.join(os.path.dirname(state), "programs")
        self.environment = os.environ | {
            "BENCH_STATE": state, "BENCH_PROGRAMS": self.programs, "BENCH_OFFLOADS": "on" if offloads else "off",
            "RELAYVPN_DEMO_PREFIX": prefix}
        self.target = None

    def _verb(self, verb, seconds):
        return run(["bash", SCRIPT, verb, self.name], seconds, env=self.environment).strip()

    def version(self):
        return self._verb("version", 10)

    def up(self):
        """The network and the device, without the system."""
        self._verb("up", 60)

    def start(self):
        self.target = self._verb("start", 120)
        self.hosts = {name: Host(f"{self.prefix}-{part}") for name, part in HOSTS.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not to be stopped half-way by a signal: that takes effect afterwards.
        arrived = []
        before = {number: signal.signal(number, lambda *_: arrived.append(1))
                  for number in (signal.SIGINT, signal.SIGTERM)}
        subprocess.run(["bash", SCRIPT, "stop"], env=self.environment, check=False, stderr=subprocess.DEVNULL,
                       start_new_session=True)
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            sys.exit(143)

    def command(self, part, *command):
        return ["ip", "netns", "exec", f"{self.prefix}-{part}", *map(str, command)]

    def at(self, part, *command, seconds=60):
        return run(self.command(part, *command), seconds)

    def begin(self, part, *command, **options):
        """A process that runs beside what is measured."""
        return subprocess.Popen(self.command(part, *command), **options)

    def tool(self, name):
        """A load generator, compiled for this run."""
        return os.path.join(self.programs, name)


def compile_programs(directory):
    os.makedirs(directory, exist_ok=True)
    for name in sorted(os.listdir(PROGRAMS)):
        if name.endswith(".c"):
            run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", os.path.join(directory, name[:-2]),
                 os.path.join(PROGRAMS, name)], 60)
