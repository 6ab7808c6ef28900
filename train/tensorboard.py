"""Event files for TensorBoard, without its package: the lines of metrics.jsonl as scalars.

    tensorboard --logdir out/train/tensorboard

An event file is a TFRecord file: for each record its length (uint64), a checksum of that, the
record, and its checksum; the checksum is CRC-32C, rotated and with a constant added (TensorFlow's
core/lib/hash/crc32c.h). A record is an Event message (core/util/event.proto); the four shapes of
field that it takes are written by hand below. About 0.1 ms a step, for the checksum is in Python: a
table look-up a byte.
"""

import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

CASTAGNOLI = 0x82F63B78
START = 1  # of SessionLog.SessionStatus


class EventFile:
    """One session's, begun with its first step. TensorBoard drops what earlier sessions have from
    that step on, so a run that was killed, or went back after a spike, shows one curve."""

    def __init__(self, directory: str | Path) -> None:
        # by name they are in the order of their sessions
        name = f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
        self._path = Path(directory) / name

    def add(self, line: Mapping) -> None:
        """The numbers of a line of metrics.jsonl, those of its tables as `loss_by_source/web`."""
        step, records = _varint(2, line["step"]), []
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            records.append(_record(_bytes(3, b"brain.Event:2")))
            records.append(_record(step + _bytes(7, _varint(1, START))))
        values = b"".join(
            _bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in scalars(line)
        )
        records.append(_record(step + _bytes(5, values)))
        with self._path.open("ab") as file:
            file.write(b"".join(records))


def _record(fields: bytes) -> bytes:
    event = _double(1, time.time()) + fields
    length = struct.pack("<Q", len(event))
    return length + _checksum(length) + event + _checksum(event)


def scalars(line: Mapping) -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{key}", number) for key, number in scalars(value))
        elif isinstance(value, (int, float)) and name != "step":
            yield name, float(value)


# --- protobuf's wire format: a field is its number and kind, then its value -----------------------


def _key(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _varint(number: int, value: int) -> bytes:
    return _key(number, 0) + _number(value)


def _double(number: int, value: float) -> bytes:
    return _key(number, 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _number(len(value)) + value


def _float(number: int, value: float) -> bytes:
    return _key(number, 5) + struct.pack("<f", value)


# --- CRC-32C --------------------------------------------------------------------------------------


def _table() -> tuple[int, ...]:
    out = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CASTAGNOLI if value & 1 else 0)
        out.append(value)
    return tuple(out)


TABLE = _table()


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
