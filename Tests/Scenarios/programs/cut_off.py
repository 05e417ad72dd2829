#!/usr/bin/env python3
"""Both ends of a connection that is to be cut, and how long each of them takes to hear of it.

usage: cut_off.py device ADDRESS PORT LOG       serves until it is killed; one line in LOG for each connection that ended
       cut_off.py client ADDRESS PORT MODE      runs until the connection ends, and says how

MODE is what the connection does: idle, up (the client sends without end), down (the device does).

The client's first line is "open", once the connection does what it should. Ends are told as an error's name, or END for
one that came in order, with the time on CLOCK_MONOTONIC, which is the same in all namespaces.
"""
import errno
import socket
import sys
import threading
import time

ENOUGH = 4_000_000  # bytes after which a transfer is well under way


def how_it_ended(connection, sends, on_open):
    """Runs one end until it hears of the other's end."""
    moved, block = 0, bytes(1 << 16)
    try:
        if not sends:
            on_open(moved)
        while True:
            if sends:
                count = connection.send(block)
            else:
                count = len(connection.recv(1 << 18))
                if count == 0:
                    return "END"
            moved += count
            on_open(moved)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def told(outcome):
    return f"{outcome} {time.monotonic():.3f}"


def serve(address, port, path):
    log = open(path, "a", buffering=1)

    def handle(connection):
        with connection:
            mode = connection.recv(1)
            connection.sendall(b".")
            print(mode.decode(), told(how_it_ended(connection, mode == b"d", lambda moved: None)), file=log)

    with socket.create_server((address, port), backlog=100) as server:
        print("listening", file=log)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=handle, args=(connection,), daemon=True).start()


def ask(address, port, mode):
    is_open = False

    def on_open(moved):
        nonlocal is_open
        if not is_open and (mode == "idle" or moved >= ENOUGH):
            is_open = True
            print("open", flush=True)

    with socket.create_connection((address, port), timeout=30) as connection:
        connection.settimeout(None)
        connection.sendall(mode[0].encode())
        if connection.recv(1) != b".":
            sys.exit("the device said nothing")
        print(told(how_it_ended(connection, mode == "up", on_open)))


if sys.argv[1] == "device":
    serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    ask(sys.argv[2], int(sys.argv[3]), sys.argv[4])
