"""The machine while it is measured: kept awake, and looked at for other work."""
import os
import sys
import time

from accounting import machine_seconds

QUIET = 5.0  # percent of all CPUs that others may take


def no_sleep_states():
    """Waking from a CPU's sleep is a cost of the machine, not of the systems. Held as long as the file is open."""
    try:
        file = open("/dev/cpu_dma_latency", "wb", buffering=0)
        file.write(b"\0\0\0\0")
        return file
    except OSError as error:
        print(f"CPU sleep states stay: {error}", file=sys.stderr)
        return None


def background():
    """How much of all CPUs is in use while nothing is measured, in percent."""
    before, start = machine_seconds(), time.monotonic()
    time.sleep(1)
    return 100 * (machine_seconds() - before) / (time.monotonic() - start) / os.cpu_count()
