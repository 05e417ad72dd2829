#!/usr/bin/env python3
"""Looks for bytes in all memory of a process that it can write to: heap, stacks, buffers; or in a file, such as a dump.

usage: scan_memory.py PID|--file FILE TEXT|hex:DIGITS

Prints the number of bytes read and of finds; exit status 0 if there were none.
"""
import sys


def writable(process):
    """Where memory is that can be written to."""
    with open(f"/proc/{process}/maps") as maps:
        for line in maps:
            span, permissions = line.split()[:2]
            if permissions.startswith("rw"):
                yield tuple(int(word, 16) for word in span.split("-"))


def scan(file, start, end, needle):
    """Bytes read and finds from `start`, to `end` or to where nothing more can be read."""
    scanned = finds = 0
    tail = b""
    while end is None or start < end:
        try:
            file.seek(start)
            block = file.read(1 << 20 if end is None else min(1 << 20, end - start))
        except OSError:
            break  # pages that belong to a device
        if not block:
            break
        finds += (tail + block).count(needle)
        tail = block[-(len(needle) - 1):]
        scanned += len(block)
        start += len(block)
    return scanned, finds


text = sys.argv[-1]
needle = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
if sys.argv[1] == "--file":
    with open(sys.argv[2], "rb", 0) as file:
        results = [scan(file, 0, None, needle)]
else:
    with open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory:
        results = [scan(memory, start, end, needle) for start, end in writable(sys.argv[1])]
scanned, finds = (sum(column) for column in zip(*results))
print(scanned, finds)
sys.exit(finds > 0)
