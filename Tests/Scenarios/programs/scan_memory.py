#!/usr/bin/env python3
"""Looks for bytes in all memory of a process that it can write to: heap, stacks, buffers.

usage: scan_memory.py PID TEXT|hex:DIGITS     prints the number of bytes read and of finds; exit status 0 if there were none
"""
import sys

process, text = sys.argv[1:3]
needle = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
scanned = finds = 0
with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
    for line in maps:
        span, permissions = line.split()[:2]
        if not permissions.startswith("rw"):
            continue
        start, end = (int(word, 16) for word in span.split("-"))
        tail = b""
        while start < end:
            memory.seek(start)
            try:
                block = memory.read(min(1 << 20, end - start))
            except OSError:
                break  # pages that belong to a device
            if not block:
                break
            finds += (tail + block).count(needle)
            tail = block[-(len(needle) - 1):]
            scanned += len(block)
            start += len(block)
print(scanned, finds)
sys.exit(finds > 0)
