"""CPU time and memory, as the kernel counts them: of the whole machine, and of the processes in a namespace."""
import os

from failure import Failure

TICKS = os.sysconf("SC_CLK_TCK")


def busy_ticks(stat):
    """Ticks of all CPUs spent on something, from the text of /proc/stat: user, nice, system, irq and softirq. Waiting
    for disks and what the hypervisor took are nobody's work; guest time is within user time already."""
    fields = [int(field) for field in stat.split("\n", 1)[0].split()[1:8]]
    user, nice, system, _idle, _iowait, irq, softirq = fields
    return user + nice + system + irq + softirq


def process_ticks(stat):
    """Ticks of a process and of its children that have ended, from the text of /proc/PID/stat. The name may contain
    anything, brackets too, so that fields are counted from the last one."""
    fields = stat.rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15])


def memory(status):
    """Resident memory now and at most, in bytes, from the text of /proc/PID/status."""
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return tuple(int(values.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


def resident(status):
    """What resident memory consists of, in bytes, from the text of /proc/PID/status: what the process has written
    itself, and what is mapped from files, the program and its libraries above all, which can be had again."""
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: int(values.get(field, "0 kB").split()[0]) * 1024
            for name, field in (("all", "VmRSS"), ("anonymous", "RssAnon"), ("file", "RssFile"))}


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def machine_seconds():
    return busy_ticks(read("/proc/stat")) / TICKS


class Host:
    """All processes in one namespace. What generates load there is gone whenever this is asked."""

    def __init__(self, namespace):
        self.inode = os.stat(f"/run/netns/{namespace}").st_ino

    def _texts(self, name):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{pid}/ns/net").st_ino == self.inode:
                    yield read(f"/proc/{pid}/{name}")
            except OSError:
                pass  # it ended in the meantime

    def process(self, name):
        """The process of a program's name of which there is one here."""
        found = [int(text.split(" ", 1)[0]) for text in self._texts("stat") if f" ({name}) " in text]
        if len(found) != 1:
            raise Failure(f"{len(found)} processes {name}")
        return Process(found[0])

    def seconds(self):
        return sum(process_ticks(text) for text in self._texts("stat")) / TICKS

    def memory(self):
        """Resident memory now and at most, in bytes, of all processes together."""
        sizes = [memory(text) for text in self._texts("status")]
        return sum(now for now, _ in sizes), sum(most for _, most in sizes)


class Process:
    """One process that is measured by itself."""

    def __init__(self, pid):
        self.pid = pid

    def _read(self, name):
        try:
            return read(f"/proc/{self.pid}/{name}")
        except (FileNotFoundError, ProcessLookupError):
            raise Failure(f"process {self.pid} has ended") from None

    def resident(self):
        return resident(self._read("status"))

    def seconds(self):
        return process_ticks(self._read("stat")) / TICKS

    def descriptors(self):
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except FileNotFoundError:
            raise Failure(f"process {self.pid} has ended") from None


class Meter:
    """What was spent between two moments, by the machine and by each host's processes."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.start = self._now()

    def _now(self):
        return {"machine": machine_seconds()} | {name: host.seconds() for name, host in self.hosts.items()}

    def spent(self):
        now = self._now()
        return {name: now[name] - self.start[name] for name in now}
