"""Plain data come through; whatever else a pickle asks for is refused and named."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.errors import UserError
from lookalike.stylegan3.nvidia import read_checkpoint
from lookalike.stylegan3.pickles import Module, NumpyArray, RefusedError, read_pickle

from .published import EasyDict, dump, network


class Call:
    """Pickled as a call; reading it the usual way would run it."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def plain() -> dict[str, Any]:
    torch.manual_seed(0)
    matrix = torch.randn(4, 6)
    return {
        "parameter": torch.nn.Parameter(matrix),
        "view": matrix.t()[1:3],
        "last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3).half(),
        "integers": torch.arange(3),
    }


@pytest.mark.parametrize("protocol", [3, 4])
def test_plain_data_come_through(protocol: int) -> None:
    tensors = plain()
    numbers = (1, -1, 10**30, 2.5, True, None, "text", b"bytes")
    content = {
        "tensors": OrderedDict(tensors),
        "settings": EasyDict(z_dim=8, names={"a", "b"}, numbers=list(numbers), tuple=numbers),
        "numpy": [np.float64(3.5), np.int64(7), np.bool_(True), np.float32(0.5)],
        "array": np.arange(6).reshape(2, 3),
        "network": network({"weight": tensors["scalar"]}, {}, "Layer", "source code"),
    }
    read = read_pickle(dump(content, protocol))
    for name, tensor in tensors.items():
        assert torch.equal(read["tensors"][name], tensor), name
        assert read["tensors"][name].dtype == tensor.dtype
    assert read["settings"] == content["settings"]
    assert type(read["settings"]) is dict
    assert read["numpy"] == [3.5, 7, True, 0.5]
    assert isinstance(read["array"], NumpyArray)
    assert read["array"].shape == (2, 3)
    layer = read["network"]
    assert isinstance(layer, Module)
    assert (layer.class_name, vars(layer).keys()) == ("Layer", {"class_name", "state"})


def storage_blob(
    *, third: object = None, kind: str = "FloatStorage", count: int = 2, data: bytes = bytes(8)
) -> bytes:
    """A storage as torch writes it: magic number, version, system, name, names, numbers."""
    system = {"protocol_version": 1001, "little_endian": True} if third is None else third
    header = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    name = b"\x80\x02(X\7\0\0\0storagectorch\n" + kind.encode()
    name += b"\nX\1\0\0\x000X\3\0\0\0cpuK\x02NtQ."
    return b"".join([*header, name, pickle.dumps(["0"], 2), struct.pack("<q", count), data])


def stored(blob: bytes) -> bytes:
    """A pickle that holds this storage."""
    return dump(Call(torch.storage._load_from_bytes, blob))


def tensor(*arguments: object) -> bytes:
    blob = Call(torch.storage._load_from_bytes, storage_blob())
    return dump(Call(torch._utils._rebuild_tensor_v2, blob, *arguments))


def hand_made(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def test_the_hand_made_storage_is_one() -> None:
    assert torch.equal(read_pickle(stored(storage_blob())), torch.zeros(2))
    loaded = torch.load(io.BytesIO(storage_blob()), weights_only=True)
    assert loaded._untyped_storage.nbytes() == 8


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def deep_tuple(depth: int) -> bytes:
    return b")" + b"\x85" * depth


NUMPY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
NUMPY_TYPE = b"cnumpy\ndtype\n" + text("f8") + b"\x85R"
HUGE = struct.pack("<Q", 2**60)

ATTACKS = {
    # Code, at the top, nested, by every instruction that names or calls.
    "reduce": (dump(Call(os.system, "true")), r"names posix\.system"),
    "reduce by hand": (hand_made(b"cos\nsystem\n" + text("true") + b"\x85R"), r"names os\.system"),
    "nested in a network": (dump({"G_ema": {"state": [Call(eval, "1")]}}), r"names builtins\.eval"),
    "in a storage": (stored(pickle.dumps(Call(os.system, "true"))), r"names posix\.system"),
    "deep in a storage": (
        stored(storage_blob(third=Call(os.system, "true"))),
        r"names posix\.system",
    ),
    "a storage in a storage": (
        stored(storage_blob(third=Call(torch.storage._load_from_bytes, b""))),
        r"names torch\.storage\._load_from_bytes",
    ),
    "unknown global": (hand_made(b"ctorch.hub\nload\n"), r"names torch\.hub\.load"),
    "unpickled on import": (hand_made(b"cantigravity\nfly\n"), r"names antigravity\.fly"),
    "storage's type outside": (hand_made(b"ctorch\nFloatStorage\n"), r"names torch\.FloatStorage"),
    "dotted name": (
        hand_made(text("torch") + text("os.system") + b"\x93"),
        r"names torch\.os\.system",
    ),
    "dotted allowed name": (
        hand_made(text("collections") + text("OrderedDict.fromkeys") + b"\x93"),
        r"names collections\.OrderedDict\.fromkeys",
    ),
    "escape sequence": (hand_made(text("o\x1b[2J\ns") + text("x") + b"\x93"), r"o\\x1b\[2J\\ns\.x"),
    "no text as a name": (hand_made(b"K\1K\2\x93"), "STACK_GLOBAL requires str"),
    "extension": (hand_made(b"\x82\x01"), "the instruction EXT1"),
    "INST": (hand_made(b"(ios\nsystem\n"), "the instruction INST"),
    "OBJ": (hand_made(b"(cos\nsystem\no"), r"names os\.system"),
    "OBJ of an allowed one": (hand_made(b"(ccollections\nOrderedDict\no"), "the instruction OBJ"),
    "NEWOBJ_EX": (hand_made(b"ccollections\nOrderedDict\n)}\x92"), "the instruction NEWOBJ_EX"),
    "unknown instruction": (hand_made(b"\xff"), "the instruction 0xff"),
    "persistent id": (hand_made(text("x") + b"Q"), "uses a persistent id"),
    "text persistent id": (hand_made(b"Px\n"), "the instruction PERSID"),
    "call of a text": (hand_made(text("x") + b")R"), "a call of str"),
    "call of an array": (hand_made(b"cnumpy\nndarray\n)R"), r"a call of numpy\.ndarray"),
    "call with a list": (hand_made(b"ccollections\nOrderedDict\n]R"), "a call of function"),
    "call with arguments": (hand_made(b"ccollections\nOrderedDict\nK\1\x85R"), "damaged"),
    # Attributes and items of what is no plain data.
    "attributes of a function": (
        hand_made(b"ccollections\nOrderedDict\n}" + text("__code__") + b"Nsb"),
        "attributes set on function",
    ),
    "attributes of a dictionary": (
        hand_made(b"}}" + text("keys") + b"Nsb"),
        "attributes set on dict",
    ),
    "items of a function": (hand_made(b"ccollections\nOrderedDict\nNNs"), "items set on function"),
    "appended to a dictionary": (hand_made(b"}Na"), "items appended to dict"),
    "added to a list": (hand_made(b"](N\x90"), "items added to list"),
    # What would make the reader fall over.
    "deep keys": (hand_made(b"}" + deep_tuple(100_000) + b"Ns"), "keys of no text"),
    "deep set": (hand_made(b"\x8f(" + deep_tuple(100_000) + b"\x90"), "a set of no texts"),
    "objects in an array": (
        hand_made(b"cnumpy\ndtype\n" + text("O8") + b"\x85R"),
        r"numpy\.dtype O8 of no numbers",
    ),
    "dtype with fields": (
        hand_made(NUMPY_TYPE + b"(K\3" + text("<") + b"N" + text("a") + b"}tb"),
        r"numpy\.dtype with fields",
    ),
    "huge array": (
        hand_made(NUMPY + b"(K\1\x8a\x06\0\0\0\0\0\1\x85" + NUMPY_TYPE + b"\x89C\0tb"),
        "numpy.ndarray that claims 8796093022208 bytes",
    ),
    "huge storage": (stored(storage_blob(count=2**40)), "claims 1099511627776 numbers"),
    "negative storage": (stored(storage_blob(count=-1)), "claims -1 numbers"),
    "storage with a rest": (stored(storage_blob(data=bytes(9))), "claims 2 numbers"),
    "zipped storage": (stored(b"PK\3\4" + bytes(40)), "a storage in an unknown format"),
    "storage of objects": (stored(storage_blob(kind="ObjectStorage")), "names torch.ObjectStorage"),
    "tensor beyond its storage": (tensor(1, (2,), (1,), False, {}), "beyond its storage of 2"),
    "tensor of repetitions": (tensor(0, (2**40,), (0,), False, {}), "beyond its storage of 2"),
    "tensor of huge strides": (tensor(0, (2,), (2**62,), False, {}), "beyond its storage of 2"),
    "tensor of immense size": (tensor(0, (2**70,), (1,), False, {}), "a tensor of unknown form"),
    "tensor of many axes": (tensor(0, (1,) * 9, (1,) * 9, False, {}), "a tensor of unknown form"),
    "storage that is a matrix": (
        dump(Call(torch._utils._rebuild_tensor_v2, torch.ones(2, 2), 0, (1,), (1,), False, {})),
        "a tensor of unknown form",
    ),
    "endless number": (hand_made(b"\x8b" + struct.pack("<i", 5000) + bytes(5000)), "LONG4"),
    "negative offset": (tensor(-1, (1,), (1,), False, {}), "a tensor of unknown form"),
    "strides amiss": (tensor(0, (1, 1), (1,), False, {}), "a tensor of unknown form"),
    "huge bytes": (hand_made(b"\x8e" + HUGE), "truncated or damaged"),
    "huge text": (hand_made(b"\x8d" + HUGE), "truncated or damaged"),
    "huge bytearray": (hand_made(b"\x96" + HUGE), "the instruction BYTEARRAY8"),
    "huge frame": (hand_made(b"\x95" + HUGE), "truncated or damaged"),
    "huge memo": (b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1), "truncated or damaged"),
    # Other files.
    "TensorFlow": (
        hand_made(b"cdnnlib.tflib.network\nNetwork\n)\x81"),
        r"of the TensorFlow era \(dnnlib\.tflib\.network\.Network\)",
    ),
    "empty": (b"", "it is an empty file, no pickle"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "it is a PNG picture, no pickle"),
    "an archive": (b"PK\3\4", "it is a zip archive, no pickle"),
    "torch.save": (b"PK\3\4" + bytes(26) + b"a/data.pkl", r"it is a PyTorch file \(.*, no pickle"),
    "a web page": (
        b"<!DOCTYPE html><p>Sign in",
        "it is an HTML page, no pickle: download the file",
    ),
    "safetensors": (
        b"\x08" + bytes(7) + b'{"a":{}}',
        "it is a safetensors file, no pickle: a checkpoint of lookalike",
    ),
    "a later protocol": (b"\x80\x09N.", "unsupported pickle protocol: 9"),
    "nothing on the stack": (hand_made(b"0"), "damaged"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_by_name(tmp_path: Path, name: str) -> None:
    content, message = ATTACKS[name]
    path = tmp_path / "attack.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(path)
    line = str(caught.value)
    assert line.startswith(f"{path} is refused, and nothing in it was run: ")
    assert line.isprintable()


def test_what_an_attack_would_have_run_did_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    attack = Call(os.mkdir, str(marker))
    for content in (dump(attack), stored(pickle.dumps(attack)), stored(storage_blob(third=attack))):
        with pytest.raises(RefusedError, match=r"posix\.mkdir"):
            read_pickle(content)
    assert not marker.exists()
    pickle.loads(dump(attack))  # noqa: S301 - shows that the attack is one
    assert marker.exists()


SEALED = dump({"tensors": plain(), "network": network({"a.b": torch.ones(2)}, {"z": 1}, "N")})


def test_every_truncation_is_refused() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(RefusedError):
            read_pickle(SEALED[:length])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SEALED) - 1), st.integers(0, 255)), max_size=4))
def test_damage_is_refused_or_harmless(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SEALED)
    for place, value in changes:
        content[place] = value
    try:
        read_pickle(bytes(content))
    except RefusedError as error:
        assert str(error).isprintable()  # and any other error fails the test
