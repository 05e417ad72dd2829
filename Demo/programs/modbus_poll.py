#!/usr/bin/env python3
"""Polls the PLC of modbus_device.py as an HMI does: many small reads on one connection, and writes read back.

usage: modbus_poll.py ADDRESS PORT TEXT
"""
import statistics
import struct
import sys
import time

from pymodbus.client import ModbusTcpClient

address, port, expected = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode().ljust(16)[:16]
client = ModbusTcpClient(address, port=port, timeout=3, retries=0)
if not client.connect():
    sys.exit(f"no Modbus connection to {address}:{port}")
times = []
for poll in range(100):
    start = time.monotonic()
    answer = client.read_holding_registers(0, count=8)
    times.append((time.monotonic() - start) * 1000)
    if answer.isError() or struct.pack(">8H", *answer.registers) != expected:
        sys.exit(f"poll {poll}: {answer}")
for value in range(1, 11):
    written = client.write_register(100 + value, value * value)
    answer = client.read_holding_registers(100 + value, count=1)
    if written.isError() or answer.isError() or answer.registers != [value * value]:
        sys.exit(f"register {100 + value}: wrote {value * value}, read {answer}")
client.close()
print(f"100 polls of 8 registers right, median {statistics.median(times):.2f} ms, slowest {max(times):.2f} ms; "
      "10 registers written and read back")
