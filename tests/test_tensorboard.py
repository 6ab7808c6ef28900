"""Event files, read back by protobuf's own decoder and a checksum computed another way."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("google.protobuf")  # train/ runs without

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from train.config import Train
from train.loop import train
from train.packing import write_packed
from train.tensorboard import EventFile, crc32c, scalars


def test_crc32c_by_published_values():
    assert crc32c(b"123456789") == 0xE3069283  # Koopman's and RFC 3720's check value
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


def event_class():
    """tensorflow/core/util/event.proto and summary.proto, the fields that are used."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    kinds = {"double": 1, "float": 2, "int64": 3, "string": 9, "message": 11}
    for name, fields in {
        "Value": [("tag", 1, "string", 1, ""), ("simple_value", 2, "float", 1, "")],
        "Summary": [("value", 1, "message", 3, ".t.Value")],
        "SessionLog": [("status", 1, "int64", 1, "")],
        "Event": [
            ("wall_time", 1, "double", 1, ""),
            ("step", 2, "int64", 1, ""),
            ("file_version", 3, "string", 1, ""),
            ("summary", 5, "message", 1, ".t.Summary"),
            ("session_log", 7, "message", 1, ".t.SessionLog"),
        ],
    }.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kinds[kind], label=label)
            if of:
                added.type_name = of
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def slow_crc(data: bytes) -> int:
    """Bit by bit: the remainder of the message times x^32 by Castagnoli's polynomial."""
    remainder = 0xFFFFFFFF
    for bit in (byte >> i & 1 for byte in data for i in range(8)):
        out = (remainder ^ bit) & 1
        remainder = remainder >> 1 ^ (0x82F63B78 if out else 0)
    return ~remainder & 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = slow_crc(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def read(path: Path) -> list:
    data, at, out, kind = path.read_bytes(), 0, [], event_class()
    while at < len(data):
        length, of_length = struct.unpack_from("<QI", data, at)
        record = data[at + 12 : at + 12 + length]
        assert of_length == masked(data[at : at + 8])
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(record)
        out.append(kind.FromString(record))
        at += 16 + length
    return out


def test_a_file_begins_a_session_and_holds_the_numbers(tmp_path):
    board = EventFile(tmp_path)
    assert list(tmp_path.iterdir()) == []
    board.add({"step": 300, "loss": 2.5, "grad_norm": None, "loss_by_source": {"wéb": 1.5}})
    board.add({"step": 70_000_000_000, "loss": float("inf"), "overflow": True})
    [path] = tmp_path.iterdir()
    version, start, first, second = read(path)
    for event in (version, start, first, second):
        size = event.ByteSize()
        event.DiscardUnknownFields()
        assert event.ByteSize() == size
    assert version.file_version == "brain.Event:2" and version.wall_time > 1e9
    assert (start.step, start.session_log.status) == (300, 1)
    assert [(v.tag, v.simple_value) for v in first.summary.value] == [
        ("loss", 2.5), ("loss_by_source/wéb", 1.5),
    ]  # fmt: skip
    assert second.step == 70_000_000_000
    assert [v.simple_value for v in second.summary.value] == [float("inf"), 1.0]


def test_a_run_and_its_resumption_have_a_file_each(tmp_path):
    documents = [(f"d/{i}", f"s{i % 2}", np.arange(40) % 30) for i in range(20)]
    path = str(tmp_path / "part-0.arrow")
    write_packed(path, documents, 32, vocab_size=32, tokenizer_digest="d1")
    out = tmp_path / "run"
    given = {"steps": 3, "warmup_steps": 1, "threads": 1, "checkpoint_every": 2}
    evals = {"held": [path]}
    train(Train(**given), [path], str(out), eval_paths=evals, say=str)
    last = out / "checkpoints" / "step-00000003"
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    train(Train(**given), [path], str(out), eval_paths=evals, say=str)
    train(Train(**given), [path], str(out), eval_paths=evals, say=str)  # nothing left to do
    one, two = (read(p) for p in sorted((out / "tensorboard").iterdir()))
    assert [event.step for event in one] == [0, 1, 1, 2, 3]
    assert [event.step for event in two] == [0, 3, 3]
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = {value.tag: value.simple_value for value in two[-1].summary.value}
    assert found == pytest.approx(dict(scalars(log[-1])), rel=1e-6)
    assert found.keys() >= {
        "loss", "loss_by_source/s0", "learning_rate", "grad_norm", "tokens_per_s",
        "data_wait_fraction", "peak_memory_gib", "eval_loss/held",
    }  # fmt: skip
    off = Train(**given, tensorboard=False)
    train(off, [path], str(tmp_path / "off"), say=str)
    assert not (tmp_path / "off" / "tensorboard").exists()
