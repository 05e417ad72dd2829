#!/usr/bin/env python3
"""Datagrams of every size, to a device and back.

usage: datagrams.py echo ADDRESS PORT                      sends back what comes
       datagrams.py sizes ADDRESS PORT SIZE...             one after the other, each until it came back or 3 tries are over
       datagrams.py burst ADDRESS PORT SIZE COUNT          all at once; how many came back, and whether all of these are whole
       datagrams.py mixed ADDRESS PORT COUNT SIZE...       the same with these sizes in turn; and how many came too late

Exit status 0: all that came back is what was sent, in its order; for `sizes` all came back.
"""
import hashlib
import os
import socket
import sys

verb, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
endpoint = socket.socket(family, socket.SOCK_DGRAM)
# Beyond what net.core.rmem_max allows (SO_RCVBUFFORCE): what is lost here would say nothing about the way.
SO_RCVBUFFORCE = 33
endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)


def payload(size):
    """Random, with a digest of it at the end where there is room."""
    if size <= 32:
        return os.urandom(size)
    body = os.urandom(size - 32)
    return body + hashlib.sha256(body).digest()


if verb == "echo":
    endpoint.bind((address, port))
    print("listening", flush=True)
    while True:
        datagram, sender = endpoint.recvfrom(1 << 16)
        endpoint.sendto(datagram, sender)

endpoint.connect((address, port))
if verb == "sizes":
    endpoint.settimeout(2)
    lost = []
    for size in map(int, sys.argv[4:]):
        sent = payload(size)
        for _ in range(3):
            endpoint.send(sent)
            try:
                if endpoint.recv(1 << 16) == sent:
                    break
            except TimeoutError:
                pass
        else:
            lost.append(size)
    print("lost:", *lost)
    sys.exit(bool(lost))

if verb == "mixed":
    count, *sizes = map(int, sys.argv[4:])
else:
    *sizes, count = map(int, sys.argv[4:])
sent = {payload(sizes[number % len(sizes)]): number for number in range(count)}
for datagram in sent:
    endpoint.send(datagram)
endpoint.settimeout(2)
back = []
try:
    while len(back) < count:
        back.append(endpoint.recv(1 << 16))
except TimeoutError:
    pass
foreign = sum(datagram not in sent for datagram in back)
numbers = [sent[datagram] for datagram in back if datagram in sent]
late = sum(number < before for before, number in zip(numbers, numbers[1:]))
print(len(back), foreign, late)
sys.exit(foreign > 0 or late > 0)
