#!/usr/bin/env python3
"""Small questions and answers on one connection, timed, as a PLC is polled; and ends that stall.

usage: poll.py ask ADDRESS PORT COUNT BYTES      an echo service answers; prints the times in one JSON object
       poll.py stall ADDRESS PORT PATH           asks a web server for a file, and reads none of it until its input ends
       poll.py serve-stalled ADDRESS PORT        accepts, and never reads
"""
import json
import os
import socket
import struct
import sys
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


def stall(address, port, path):
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        print("stalled", flush=True)
        sys.stdin.read()


def serve_stalled(address, port):
    with socket.create_server((address, port)) as server:
        print("listening", flush=True)
        held = []
        while True:
            held.append(server.accept())


if sys.argv[1] == "ask":
    ask(sys.argv[2], *map(int, sys.argv[3:6]))
elif sys.argv[1] == "stall":
    stall(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    serve_stalled(sys.argv[2], int(sys.argv[3]))
