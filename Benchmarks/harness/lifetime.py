"""What is left of a run when what started it is killed: nothing."""
import atexit
import ctypes
import os
import shutil
import signal
import sys


def end_with_parent(state):
    """If run.sh is killed, this is told to end, ends the system that runs, and removes what run.sh would have."""
    parent = os.getppid()

    def remove():
        if os.getppid() != parent:
            shutil.rmtree(state, ignore_errors=True)

    atexit.register(remove)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
