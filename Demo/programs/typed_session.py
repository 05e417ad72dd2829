#!/usr/bin/env python3
"""Types a line a second into a remote shell and waits for each answer, as a person in a long session does.

usage: typed_session.py SECONDS TEXT -- COMMAND...        the command starts the remote shell, such as `ssh -tt`
"""
import os
import selectors
import statistics
import subprocess
import sys
import time

seconds, text, command = int(sys.argv[1]), sys.argv[2], sys.argv[4:]
shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
selector = selectors.DefaultSelector()
selector.register(shell.stdout, selectors.EVENT_READ)
seen = b""


def type_line(line):
    """Types, unless the other side has gone: then the missing answer tells."""
    try:
        shell.stdin.write(line.encode())
    except BrokenPipeError:
        pass


def wait_for(answer, patience):
    """Reads until the answer is there; ends the program when it does not come."""
    global seen
    deadline = time.monotonic() + patience
    while answer not in seen:
        ready = selector.select(max(0.0, deadline - time.monotonic()))
        chunk = os.read(shell.stdout.fileno(), 65536) if ready else b""
        if not chunk:
            shell.kill()
            sys.exit(f"no answer {answer.decode()!r}; the last that came: {seen[-200:].decode(errors='replace')!r}")
        seen += chunk
    seen = seen[seen.index(answer) + len(answer):]


# The shell computes each answer, so that the terminal's echo of what was typed can't pass for it.
type_line("echo ready-$((6*7))\n")
wait_for(b"ready-42", 10)
start, times = time.monotonic(), []
line = 0
while time.monotonic() - start < seconds:
    line += 1
    typed = time.monotonic()
    type_line(f"echo {text}-$(({line}*7))\n")
    wait_for(f"{text}-{line * 7}".encode(), 5)
    times.append((time.monotonic() - typed) * 1000)
    time.sleep(1)
type_line("exit\n")
shell.stdin.close()
status = shell.wait(timeout=10)
if status != 0:
    sys.exit(f"the session ended with status {status}")
print(f"{line} lines typed and answered in {time.monotonic() - start:.1f} s, "
      f"median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms")
