#!/usr/bin/env python3
"""Thousands of flows at once: a device that echoes, and a client that demands every byte back.

usage: flood.py serve ADDRESS PORT
       flood.py ask ADDRESS PORT TCP-FLOWS UDP-FLOWS BYTES

The client opens all flows, exchanges BYTES over each TCP flow and some datagrams over each UDP flow while all are open,
prints one JSON object, holds them until its input ends, then closes them. Datagrams that are lost are sent again.
"""
import hashlib
import json
import resource
import select
import socket
import sys
import time

DATAGRAM = 200
DATAGRAMS = 3
# UDP flows that wait for an answer at once: what a device's queue and a switch would take.
OUTSTANDING = 500
# ip(7); Python 3.11 has no name for it.
IP_PKTINFO = 8


def raise_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def serve(address, port):
    listener = socket.create_server((address, port), backlog=4096)
    listener.setblocking(False)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        datagrams.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    except PermissionError:
        pass
    # Answers leave from the address that was asked: a device has several here, and its clients know one.
    datagrams.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    datagrams.bind((address, port))
    datagrams.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(datagrams, select.EPOLLIN)
    connections, waiting = {}, {}
    print("listening", flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                try:
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        connections[connection.fileno()] = connection
                        waiting[connection.fileno()] = bytearray()
                        poll.register(connection, select.EPOLLIN)
                except BlockingIOError:
                    pass
            elif fd == datagrams.fileno():
                try:
                    while True:
                        payload, control, _, source = datagrams.recvmsg(65536, socket.CMSG_SPACE(12))
                        datagrams.sendmsg([payload], control, 0, source)
                except BlockingIOError:
                    pass
            else:
                echo(poll, connections, waiting, fd)


def echo(poll, connections, waiting, fd):
    connection, queue = connections[fd], waiting[fd]
    try:
        if not queue:
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionResetError
            queue += chunk
        del queue[: connection.send(queue)]
    except BlockingIOError:
        pass
    except OSError:
        poll.unregister(fd)
        connections.pop(fd).close()
        waiting.pop(fd)
        return
    # Nothing more is read before all of it has gone back: a client that doesn't read is felt there.
    poll.modify(fd, select.EPOLLOUT if queue else select.EPOLLIN)


class Stream:
    """One TCP flow, and how far it is."""

    def __init__(self, number, size):
        self.payload = pattern(number, size)
        self.sent, self.received, self.digest = 0, 0, hashlib.sha256()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)

    def move(self, mask):
        if mask & select.EPOLLOUT and self.sent < len(self.payload):
            try:
                self.sent += self.socket.send(memoryview(self.payload)[self.sent:])
            except BlockingIOError:
                pass
        if mask & ~select.EPOLLOUT:
            try:
                chunk = self.socket.recv(65536)
            except BlockingIOError:
                return
            if not chunk:
                raise ConnectionResetError("closed early")
            self.received += len(chunk)
            self.digest.update(chunk)

    def is_done(self):
        return self.received >= len(self.payload)

    def is_right(self):
        return self.digest.digest() == hashlib.sha256(self.payload).digest()


def pattern(number, size):
    block = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return (block * (size // len(block) + 1))[:size]


def open_streams(address, port, count, size):
    poll, streams, errors = select.epoll(), {}, []
    for number in range(count):
        stream = Stream(number, size)
        try:
            stream.socket.connect((address, port))
        except BlockingIOError:
            pass
        streams[stream.socket.fileno()] = stream
        poll.register(stream.socket, select.EPOLLOUT)
    opened = 0
    while opened + len(errors) < count:
        for fd, _ in poll.poll():
            poll.unregister(fd)
            code = streams[fd].socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                errors.append(code)
                streams.pop(fd).socket.close()
            else:
                opened += 1
    return streams, errors


def exchange(streams):
    poll, errors, busy = select.epoll(), [], set(streams)
    for fd in streams:
        poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
    while busy:
        for fd, mask in poll.poll():
            stream = streams[fd]
            try:
                stream.move(mask)
            except OSError as error:
                errors.append(str(error))
                busy.discard(fd)
                poll.unregister(fd)
                continue
            if stream.is_done():
                busy.discard(fd)
                poll.unregister(fd)
                if not stream.is_right():
                    errors.append("other bytes")
            elif stream.sent == len(stream.payload):
                poll.modify(fd, select.EPOLLIN)
    return errors


def converse(address, port, count):
    """Each flow has a socket of its own; gives the sockets, what was wrong, and how many datagrams went again."""
    poll, flows, errors, again = select.epoll(), {}, [], 0
    for number in range(count):
        flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flow.setblocking(False)
        flow.connect((address, port))
        flows[flow.fileno()] = (number, flow)
        poll.register(flow, select.EPOLLIN)
    for turn in range(DATAGRAMS):
        rest, outstanding = list(flows), {}
        while rest or outstanding:
            while rest and len(outstanding) < OUTSTANDING:
                fd = rest.pop()
                number, flow = flows[fd]
                try:
                    flow.send(pattern(number * DATAGRAMS + turn, DATAGRAM))
                except OSError as error:
                    errors.append(str(error))
                    continue
                outstanding[fd] = time.monotonic()
            for fd, _ in poll.poll(0.1):
                number, flow = flows[fd]
                try:
                    answer = flow.recv(65536)
                except OSError as error:
                    errors.append(str(error))
                    outstanding.pop(fd, None)
                    continue
                # An answer to what was sent twice comes twice.
                if answer == pattern(number * DATAGRAMS + turn, DATAGRAM):
                    outstanding.pop(fd, None)
                elif turn == 0 or answer != pattern(number * DATAGRAMS + turn - 1, DATAGRAM):
                    errors.append("other bytes")
            late = time.monotonic() - 1
            for fd in [fd for fd, sent in outstanding.items() if sent < late]:
                del outstanding[fd]
                rest.append(fd)
                again += 1
                if again > 10 * count:
                    errors.append("too much is lost")
                    return flows, errors, again
    return flows, errors, again


def ask(address, port, tcp, udp, size):
    start = time.monotonic()
    streams, errors = open_streams(address, port, tcp, size)
    opened = time.monotonic()
    flows, datagram_errors, again = converse(address, port, udp)
    conversed = time.monotonic()
    errors += exchange(streams) + datagram_errors
    report = {
        "tcp": len(streams), "udp": len(flows), "errors": len(errors), "kinds": sorted(set(map(str, errors))),
        "datagramsAgain": again, "openSeconds": round(opened - start, 2),
        "datagramSeconds": round(conversed - opened, 2), "moveSeconds": round(time.monotonic() - conversed, 2),
    }
    print(json.dumps(report), flush=True)
    sys.stdin.read()
    for stream in streams.values():
        stream.socket.close()
    for _, flow in flows.values():
        flow.close()


raise_limit()
if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    ask(sys.argv[2], *map(int, sys.argv[3:7]))
