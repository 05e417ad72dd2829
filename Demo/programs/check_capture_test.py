#!/usr/bin/env python3
"""Tests of check_capture.py against captures made by hand."""
import struct
import unittest

import check_capture

CLIENT, SERVER = bytes([203, 0, 113, 10]), bytes([203, 0, 113, 1])
HANDSHAKE = b"\x16\x03\x01\x00\x04abcd"
DATA = b"\x17\x03\x03\x00\x08sealed!!"


def tcp(sequence, payload=b"", flags=0x10, port=443, upwards=True):
    ports = (40000, port) if upwards else (port, 40000)
    return (6, struct.pack(">HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, 0, 5 << 4, flags, 0, 0, 0) + payload, upwards)


def capture(segments, cut=0):
    data = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for protocol, payload, upwards in segments:
        ends = CLIENT + SERVER if upwards else SERVER + CLIENT
        frame = bytes(12) + b"\x08\x00" + struct.pack(
            ">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + ends + payload
        frame = frame.ljust(60, b"\0")  # Ethernet pads; the padding is no payload
        data += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    return data[:len(data) - cut]


def faults(segments, texts=(b"PLAIN",), cut=0):
    return check_capture.check(capture(segments, cut), 443, list(texts))[0]


class CheckCaptureTest(unittest.TestCase):
    def test_records_split_reordered_and_repeated_are_put_together(self):
        stream = HANDSHAKE + DATA * 3
        for initial in (0, 1000, 0xFFFFFFF8):  # the last one wraps within the stream
            at = lambda start, end: tcp(initial + 1 + start, stream[start:end])
            segments = [tcp(initial, flags=2), at(0, 2), at(20, 40), at(2, 11), at(5, 25), at(20, 40),
                        at(40, len(stream)), tcp(initial, flags=2)]
            self.assertEqual(faults(segments), [])

    def test_both_directions_are_walked(self):
        answer = [tcp(7, flags=2), tcp(8, HANDSHAKE + DATA), tcp(90, flags=0x12, upwards=False)]
        self.assertEqual(faults(answer + [tcp(91, HANDSHAKE + DATA, upwards=False)]), [])
        self.assertEqual(len(faults(answer + [tcp(91, b"HTTP/1.1 200 OK", upwards=False)])), 1)

    def test_what_is_no_record_is_a_fault(self):
        for bad in (b"\x18\x03\x03\x00\x01x", b"\x17\x03\x04\x00\x01x", b"\x17\x03\x00\x00\x01x",
                    b"\x17\x03\x03\x00\x00", b"\x17\x03\x03\x48\x01" + bytes(0x4801)):
            self.assertEqual(len(faults([tcp(0, flags=2), tcp(1, HANDSHAKE + DATA + bad + DATA)])), 1, bad[:5])

    def test_a_stream_begins_with_a_handshake(self):
        self.assertEqual(len(faults([tcp(0, flags=2), tcp(1, DATA)])), 2)  # and no application data was counted

    def test_a_cut_record_is_allowed_only_while_the_stream_is_open(self):
        begun = [tcp(0, flags=2), tcp(1, HANDSHAKE + DATA + DATA[:7])]
        self.assertEqual(faults(begun), [])
        self.assertEqual(len(faults(begun + [tcp(1 + 9 + 13 + 7, flags=0x11)])), 1)

    def test_a_hole_is_a_fault(self):
        for after in (tcp(40, DATA), tcp(40, flags=0x11)):
            first, *_ = faults([tcp(0, flags=2), tcp(1, HANDSHAKE + DATA), after])
            self.assertIn("the capture lacks 17 bytes at offset 22", first)

    def test_a_missing_beginning_is_a_fault(self):
        self.assertEqual(len(faults([tcp(1, HANDSHAKE + DATA)])), 2)

    def test_text_is_found_in_a_packet_and_across_two(self):
        whole = HANDSHAKE + b"\x17\x03\x03\x00\x07xPLAINx" + DATA
        self.assertEqual(len(faults([tcp(0, flags=2), tcp(1, whole)])), 2)
        self.assertEqual(len(faults([tcp(0, flags=2), tcp(1, whole[:17]), tcp(18, whole[17:])])), 1)

    def test_anything_beside_the_port_is_a_fault(self):
        good = [tcp(0, flags=2), tcp(1, HANDSHAKE + DATA)]
        self.assertEqual(len(faults(good + [tcp(0, flags=2, port=80)])), 1)
        self.assertEqual(len(faults(good + [(17, bytes(8), True)])), 1)
        self.assertEqual(faults(good + [(1, bytes(8), True)]), [])

    def test_a_packet_cut_at_the_end_of_the_file_is_left_out(self):
        self.assertEqual(faults([tcp(0, flags=2), tcp(1, HANDSHAKE + DATA), tcp(23, b"\x99" * 99)], cut=5), [])

    def test_an_empty_capture_shows_nothing(self):
        self.assertEqual(len(faults([])), 1)


if __name__ == "__main__":
    unittest.main()
