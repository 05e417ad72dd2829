#!/usr/bin/env python3
"""How soon a path serves again after it was cut: an open connection that sends 64 bytes every 50 ms, and new
connections, one every 100 ms.

It prints `ready` once the connection answers. The line it then reads on standard input says that the path is whole
again: from there on it counts. Prints JSON: seconds until the open connection answered (null if it ended, or stayed
silent for as long as it was waited for) and until a new one did.

usage: recovery.py ADDRESS PORT PATIENCE
"""
import json
import selectors
import socket
import sys
import threading
import time

address, port, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
healed = threading.Event()
start = [0.0]


def old_connection(connection, result):
    """The time of the first answer that comes after the path was healed."""
    connection.settimeout(0.05)
    while not healed.is_set() or time.monotonic() - start[0] < patience:
        try:
            connection.send(b"x" * 64)
        except TimeoutError:
            pass
        except OSError:
            return
        try:
            if not connection.recv(1 << 16):
                return
            if healed.is_set():
                result["open"] = time.monotonic() - start[0]
                return
            time.sleep(0.05)
        except TimeoutError:
            pass
        except OSError:
            return


def new_connections(result):
    """One after another, each on its own, so that one that hangs delays no other."""
    waiting, selector = {}, selectors.DefaultSelector()
    last = 0.0
    while time.monotonic() - start[0] < patience:
        if time.monotonic() - last >= 0.1:
            last = time.monotonic()
            attempt = socket.socket()
            attempt.setblocking(False)
            attempt.connect_ex((address, port))
            selector.register(attempt, selectors.EVENT_WRITE)
        for key, _ in selector.select(0.02):
            attempt = key.fileobj
            try:
                if attempt not in waiting:
                    attempt.send(b"x" * 64)
                    waiting[attempt] = True
                    selector.modify(attempt, selectors.EVENT_READ)
                    continue
                if attempt.recv(64):
                    result["new"] = time.monotonic() - start[0]
                    return
            except OSError:
                pass
            selector.unregister(attempt)
            attempt.close()


def main():
    result = {"open": None, "new": None}
    connection = socket.create_connection((address, port), timeout=5)
    connection.sendall(b"x" * 64)
    connection.recv(64)
    print("ready", flush=True)
    thread = threading.Thread(target=old_connection, args=(connection, result))
    thread.start()
    sys.stdin.readline()
    start[0] = time.monotonic()
    healed.set()
    new_connections(result)
    thread.join()
    print(json.dumps(result))


main()
