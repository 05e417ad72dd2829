#!/usr/bin/env python3
"""Small questions and answers on one connection, timed, as a PLC is polled; and ends that stall.

usage: poll.py ask ADDRESS PORT COUNT BYTES      an echo service answers; prints the times in one JSON object
       poll.py hold ADDRESS PORT                 connects to a device that sends without end, and reads nothing
"""
import json
import os
import socket
import struct
import sys
import threading
import time


def hold_awake():
    """No deep sleep of the processor while we measure: its wake-up would be measured instead."""
    try:
        latency = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
        os.write(latency, struct.pack("i", 0))
        return latency
    except OSError:
        return None


def ask(address, port, count, size):
    awake = hold_awake()
    times = []
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count):
            question = number.to_bytes(4, "big") * (size // 4)
            start = time.perf_counter()
            connection.sendall(question)
            answer = b""
            while len(answer) < len(question):
                chunk = connection.recv(65536)
                if not chunk:
                    sys.exit("the connection ended")
                answer += chunk
            times.append((time.perf_counter() - start) * 1000)
            if answer != question:
                sys.exit("other bytes")
            time.sleep(0.002)
    times.sort()
    rank = lambda part: round(times[min(count - 1, int(count * part))], 3)
    print(json.dumps({"count": count, "median": rank(0.5), "p99": rank(0.99), "slowest": rank(1)}))
    if awake is not None:
        os.close(awake)


def hold(address, port):
    with socket.create_connection((address, port), timeout=20):
        print("stalled", flush=True)
        threading.Event().wait()


if sys.argv[1] == "ask":
    ask(sys.argv[2], *map(int, sys.argv[3:6]))
else:
    hold(sys.argv[2], int(sys.argv[3]))
