#!/usr/bin/env python3
"""A server that sends a few bytes and then resets the connection.

usage: resetting.py ADDRESS PORT
"""
import socket
import struct
import sys
import time

with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("listening", flush=True)
    while True:
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(b"not all")
        time.sleep(0.3)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
