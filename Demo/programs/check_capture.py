#!/usr/bin/env python3
"""Reads a capture taken at the relay and judges it: nothing readable in it, and nothing but TLS records.

Every TCP connection to or from the port is put together by its sequence numbers, both ways, and walked record by
record (RFC 8446 section 5.1). The texts are looked for in every packet and in every stream put together.

usage: check_capture.py FILE PORT TEXT...      exit status 0: as promised, 1: not
"""
import dataclasses
import struct
import sys

RECORD_TYPES = {20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data"}
LARGEST_RECORD = 16384 + 2048  # TLS 1.2 (RFC 5246 section 6.2.3); TLS 1.3 allows less
ETHERNET, TCP, UDP = 1, 6, 17
FIN, SYN = 0x01, 0x02


class Malformed(Exception):
    """Why a capture or a stream is not what it should be."""


def packets(data):
    """The packets of a pcap file, as (bytes, length on the wire). A last packet that was cut in writing is left out."""
    magic = data[:4]
    if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        order = "<"
    elif magic in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        order = ">"
    else:
        raise Malformed("not a pcap file")
    if struct.unpack(order + "I", data[20:24])[0] & 0xFFFF != ETHERNET:
        raise Malformed("not a capture of Ethernet frames")
    offset = 24
    while offset + 16 <= len(data):
        captured, length = struct.unpack(order + "II", data[offset + 8:offset + 16])
        offset += 16
        if offset + captured > len(data):
            return
        yield data[offset:offset + captured], length
        offset += captured


@dataclasses.dataclass
class Datagram:
    """What an IP packet carries. `payload` ends where the IP header says, so that Ethernet padding is no data."""
    source: bytes
    destination: bytes
    protocol: int
    payload: bytes


def datagram(frame):
    """The IP packet in an Ethernet frame; None for ARP and the like."""
    kind, rest = frame[12:14], frame[14:]
    if kind == b"\x08\x00":
        total = struct.unpack(">H", rest[2:4])[0]
        if struct.unpack(">H", rest[6:8])[0] & 0x3FFF:
            raise Malformed("a fragment: this checker does not put IP packets together")
        return Datagram(rest[12:16], rest[16:20], rest[9], rest[(rest[0] & 15) * 4:total or None])
    if kind == b"\x86\xdd":
        total = struct.unpack(">H", rest[4:6])[0]
        return Datagram(rest[8:24], rest[24:40], rest[6], rest[40:40 + total] if total else rest[40:])
    return None


class Stream:
    """One direction of one TCP connection: segments by their offset from the first byte after SYN."""

    def __init__(self, initial):
        self.initial = initial
        self.highest = 0
        self.segments = []
        self.end = None

    def add(self, sequence, payload, fin):
        # 32-bit sequence numbers, unwrapped to the value nearest to the highest seen so far (RFC 9293 section 3.4).
        offset = (sequence - self.initial - 1) & 0xFFFFFFFF
        offset += (self.highest - offset + 0x80000000) & ~0xFFFFFFFF
        if payload:
            self.segments.append((offset, payload))
            self.highest = max(self.highest, offset + len(payload))
        if fin:
            self.end = offset + len(payload)

    def assembled(self):
        """All bytes in order. A hole means that the capture lost a packet, so nothing can be said of the rest."""
        parts, position = [], 0
        for offset, payload in sorted(self.segments, key=lambda segment: segment[0]):
            if offset > position:
                raise Malformed(f"the capture lacks {offset - position} bytes at offset {position}")
            if offset + len(payload) > position:
                parts.append(payload[position - offset:])
                position = offset + len(payload)
        if self.end is not None and self.end > position:
            raise Malformed(f"the capture lacks {self.end - position} bytes at offset {position}")
        return b"".join(parts)


def walk(data, finished, counts):
    """Counts the TLS records by type. A cut record is allowed only at the end of a stream that is still open."""
    offset = 0
    while offset < len(data):
        header = data[offset:offset + 5]
        if header[0] not in RECORD_TYPES:
            raise Malformed(f"offset {offset}: type {header[0]} is no TLS record ({header.hex(' ')})")
        if len(header) == 5:
            version, length = struct.unpack(">HH", header[1:])
            if not 0x0301 <= version <= 0x0303:
                raise Malformed(f"offset {offset}: version {version:#06x} is no TLS version")
            if not 1 <= length <= LARGEST_RECORD:
                raise Malformed(f"offset {offset}: a record of {length} bytes")
            if offset == 0 and header[0] != 22:
                raise Malformed("the first record is no handshake")
        if len(header) < 5 or offset + 5 + length > len(data):
            if finished:
                raise Malformed(f"offset {offset}: the stream ends within a record")
            return
        counts[header[0]] += 1
        offset += 5 + length


def check(data, port, texts):
    """All that is wrong with a capture, and a line on what was in it."""
    faults, streams, open_streams = [], [], {}
    total = others = 0

    def search(where, content):
        faults.extend(f"{where}: the text {text.decode()!r} can be read" for text in texts if text in content)

    for number, (frame, length) in enumerate(packets(data), 1):
        total += 1
        if len(frame) < length:
            faults.append(f"packet {number}: only {len(frame)} of {length} bytes captured")
        search(f"packet {number}", frame)
        packet = datagram(frame)
        if packet is None or packet.protocol not in (TCP, UDP):
            continue
        source, destination = struct.unpack(">HH", packet.payload[:4])
        if packet.protocol == UDP or port not in (source, destination):
            others += 1
            faults.append(f"packet {number}: protocol {packet.protocol}, {source} to {destination}: not port {port}")
            continue
        sequence, = struct.unpack(">I", packet.payload[4:8])
        flags, payload = packet.payload[13], packet.payload[(packet.payload[12] >> 4) * 4:]
        key = (packet.source, source, packet.destination, destination)
        stream = open_streams.get(key)
        if flags & SYN and (stream is None or stream.initial != sequence):
            stream = open_streams[key] = Stream(sequence)
            streams.append((key, stream))
        if stream is None:
            faults.append(f"packet {number}: of a connection whose beginning the capture lacks")
            continue
        stream.add(sequence + (1 if flags & SYN else 0), payload, flags & FIN)

    records, size = dict.fromkeys(RECORD_TYPES, 0), 0
    for (source, source_port, destination, destination_port), stream in streams:
        name = f"{dotted(source)}:{source_port} to {dotted(destination)}:{destination_port}"
        try:
            content = stream.assembled()
            size += len(content)
            search(name, content)
            walk(content, stream.end is not None, records)
        except Malformed as fault:
            faults.append(f"{name}: {fault}")
    if not records[23]:
        faults.append("no application data in the capture: nothing was shown")
    kinds = ", ".join(f"{count} {RECORD_TYPES[kind]}" for kind, count in records.items())
    return faults, (f"{total} packets, {len(streams)} streams, {size} bytes of payload on port {port}: "
                    f"{sum(records.values())} TLS records ({kinds}), {others} other packets")


def dotted(address):
    return ".".join(map(str, address)) if len(address) == 4 else address.hex(":", 2)


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        faults, summary = check(data, int(sys.argv[2]), [text.encode() for text in sys.argv[3:]])
    except Malformed as fault:
        faults, summary = [str(fault)], "nothing could be read"
    for fault in faults[:10]:
        print(fault)
    if len(faults) > 10:
        print(f"and {len(faults) - 10} more faults")
    print(summary)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
