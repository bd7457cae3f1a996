"""Reads pickled networks as data: nothing that a pickle names is imported or called.

A pickle is a program for a small stack machine, and the instructions that name a global and call
it are what makes a foreign pickle dangerous. Here each name on a short list stands for a function
of this file that only records its arguments; any other name, and any instruction that plain data
do not need, is refused and named. So is what would make the reader itself fall over: sizes that
the file does not hold, dictionary keys that are no text (hashing deeply nested tuples overflows
the C stack), tensors beyond their storage.

The pure Python unpickler of the standard library does the rest. The C one reserves memory for sizes
that the file merely claims. torch's own reader for storages (`torch.load`, even with
`weights_only`) does so too, hence the two screens of its format here.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import struct
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from lookalike.arguments import not_a_pickle

MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save before the zip format
TENSORFLOW = "dnnlib.tflib."  # modules of StyleGAN and StyleGAN2 for TensorFlow


class RefusedError(Exception):
    """The pickle asks for something that no checkpoint needs; the text says what."""


@dataclass(eq=False)
class Module:
    """A network or a part of it: what would be its `__dict__`, as data."""

    class_name: str
    state: dict[str, Any]


@dataclass(eq=False)
class NumpyType:
    """numpy.dtype of plain numbers, say `f8`."""

    code: str


@dataclass(eq=False)
class NumpyArray:
    """numpy.ndarray; the numbers are left unread, because nothing here needs them."""

    shape: tuple[int, ...] = field(default=())


@dataclass(frozen=True)
class _Stored:
    """What a storage's own pickle says: the type of its numbers, its name."""

    dtype: torch.dtype
    key: str


def read_pickle(content: bytes) -> Any:
    """The object that a pickle (protocol 3 or 4) describes, made of plain data.

    Dictionaries, lists, tuples, sets, numbers and texts are themselves; networks are `Module`,
    parameters and tensors are `Tensor`, arrays of NumPy are `NumpyArray`.

    Raises:
        RefusedError: a global, an instruction or a size that no checkpoint needs; also what is
            truncated, damaged or no pickle.
    """
    if reason := not_a_pickle(content):
        raise RefusedError(reason)
    return _load(_Stream(content), NAMES)


class _Stream(io.BytesIO):
    """Bytes that do not silently run short."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size:
            raise EOFError
        return data


def _load(stream: _Stream, names: Mapping[tuple[str, str], Any]) -> Any:
    try:
        return _Reader(stream, names).load()
    except RefusedError:
        raise
    except (EOFError, struct.error) as error:
        raise RefusedError("it ends in the middle: truncated or damaged") from error
    except Exception as error:
        reason = printable(str(error)) or type(error).__name__
        raise RefusedError(f"it is damaged: {reason}") from error


def printable(text: str) -> str:
    """Foreign text in a message: ASCII, one line, not long."""
    escaped = text.encode("unicode_escape", "backslashreplace").decode("ascii")
    return escaped if len(escaped) <= 80 else escaped[:77] + "..."


def _demand(truth: bool, otherwise: str) -> None:
    if not truth:
        raise RefusedError(otherwise)


def _is_size(values: Any) -> bool:
    if type(values) is not tuple or len(values) > 8:
        return False
    return all(type(v) is int and 0 <= v < 2**63 for v in values)


# What the names on the list stand for.


def _dictionary() -> dict[str, Any]:
    return {}


def _set(items: Any) -> set[str]:
    _demand(type(items) is list and all(type(i) is str for i in items), "a set of no texts")
    return set(items)


def _module(meta: Any) -> Module:
    """A network: its source code (`module_src`) is dropped unread."""
    _demand(type(meta) is dict and meta.get("type") == "class", "a network in an unknown form")
    name, state = meta.get("class_name"), meta.get("state")
    _demand(type(name) is str and type(state) is dict, "a network without class and state")
    return Module(name, state)


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, _meta: Any = None
) -> Tensor:
    known = isinstance(storage, Tensor) and storage.dim() == 1
    known = known and _is_size((offset,)) and _is_size(size)
    _demand(known and _is_size(stride) and len(size) == len(stride), "a tensor of unknown form")
    # Zero strides would repeat numbers: more of them than the file holds.
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    fits = math.prod(size) <= len(storage) and (0 in size or last < len(storage))
    _demand(fits, f"a tensor beyond its storage of {len(storage)} numbers")
    numbers: Tensor = storage
    if 0 in size:
        return torch.empty(size, dtype=numbers.dtype)
    return numbers.as_strided(size, stride, offset)


def _parameter(data: Any, _grad: Any, _hooks: Any) -> Tensor:
    _demand(isinstance(data, Tensor), "a parameter that is no tensor")
    tensor: Tensor = data
    return tensor


def _storage(blob: Any) -> Tensor:
    """The numbers of a storage: four small pickles, a list of names, then count and bytes."""
    _demand(type(blob) is bytes, "a storage that is no bytes")
    stream = _Stream(blob)
    magic = _load(stream, {}) if blob[:1] == pickle.PROTO else None
    _demand(type(magic) is int and magic == MAGIC, "a storage in an unknown format")
    _load(stream, {})  # version of the format, always 1001
    system, stored, keys = (_load(stream, STORAGES) for _ in range(3))
    little = type(system) is dict and system.get("little_endian") is True
    _demand(little, "a storage of another byte order")
    named = isinstance(stored, _Stored) and type(keys) is list and len(keys) == 1
    _demand(named and type(keys[0]) is str and keys[0] == stored.key, "a storage without a name")
    (count,) = struct.unpack("<q", stream.read(8))
    size = count * stored.dtype.itemsize
    _demand(0 <= size == len(blob) - stream.tell(), f"a storage that claims {count} numbers")
    if count == 0:
        return torch.empty(0, dtype=stored.dtype)
    with warnings.catch_warnings():  # about memory that may not be written to; nobody does
        warnings.simplefilter("ignore", UserWarning)
        return torch.frombuffer(blob, dtype=stored.dtype, count=count, offset=stream.tell())


def _numpy_type(code: Any, _align: Any = False, _copy: Any = True) -> NumpyType:
    plain = type(code) is str and re.fullmatch(r"[<>=|]?[biuf]\d", code) is not None
    _demand(plain, f"numpy.dtype {printable(str(code)) if type(code) is str else ''} of no numbers")
    return NumpyType(code)


def _numpy_scalar(kind: Any, data: Any) -> float | int | bool:
    form = isinstance(kind, NumpyType) and type(data) is bytes
    _demand(form, "a numpy.scalar of unknown form")
    codes = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "u1": "B", "b1": "?"}
    code = codes.get(kind.code.lstrip("<=|"))
    _demand(code is not None, f"a numpy.scalar of type {kind.code}")
    value: float | int | bool = struct.unpack(f"<{code}", data)[0]
    return value


def _numpy_array(_class: Any, _shape: Any, _code: Any) -> NumpyArray:
    return NumpyArray()


def _not_called(*_arguments: Any) -> NoReturn:
    raise RefusedError("a call of numpy.ndarray")


NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): _set,
    ("collections", "OrderedDict"): _dictionary,
    ("dnnlib.util", "EasyDict"): _dictionary,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("numpy", "dtype"): _numpy_type,
    ("numpy", "ndarray"): _not_called,
}
for _package in ("numpy.core.multiarray", "numpy._core.multiarray"):
    NAMES[_package, "_reconstruct"] = _numpy_array
    NAMES[_package, "scalar"] = _numpy_scalar

STORAGES: dict[tuple[str, str], torch.dtype] = {
    ("torch", "FloatStorage"): torch.float32,
    ("torch", "DoubleStorage"): torch.float64,
    ("torch", "HalfStorage"): torch.float16,
    ("torch", "LongStorage"): torch.int64,
    ("torch", "IntStorage"): torch.int32,
    ("torch", "ByteStorage"): torch.uint8,
    ("torch", "BoolStorage"): torch.bool,
}

INSTRUCTIONS = frozenset(
    # Protocols 2 to 4 for plain data; not among them: extension codes, INST, OBJ, and LONG4 for
    # numbers beyond 2**2039.
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
    SHORT_BINBYTES BINBYTES BINBYTES8 SHORT_BINUNICODE BINUNICODE BINUNICODE8
    EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    EMPTY_SET ADDITEMS GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID
    """.split()  # noqa: SIM905 - a table of words
)
OPCODES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


class _Instructions(dict[int, Callable[..., None]]):
    def __missing__(self, code: int) -> NoReturn:
        raise RefusedError(f"it uses the instruction {OPCODES.get(code, hex(code))}")


class _Reader(pickle._Unpickler):
    """The standard library's stack machine, with the instructions that act on objects replaced."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: _Stream, names: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(stream)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.names:
            return self.names[module, name]
        full = printable(f"{module}.{name}")
        if module.startswith(TENSORFLOW):
            raise RefusedError(
                f"it is of the TensorFlow era ({full}); only networks of PyTorch can be read"
            )
        raise RefusedError(f"it names {full}")

    def persistent_load(self, pid: Any) -> Any:
        """A storage's own pickle names its numbers this way."""
        form = type(pid) is tuple and len(pid) >= 3 and type(pid[0]) is str and pid[0] == "storage"
        form = form and isinstance(pid[1], torch.dtype) and type(pid[2]) is str
        _demand(form, "it uses a persistent id")
        return _Stored(pid[1], pid[2])

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack.pop()
        known = isinstance(function, types.FunctionType) and type(arguments) is tuple
        _demand(known, f"a call of {type(function).__name__}")
        self.append(function(*arguments))

    def _build(self) -> None:
        """State of NumPy's objects; nothing else has any."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, NumpyType):  # byte order and fields
            plain = type(state) is tuple and state[2:5] == (None, None, None)
            _demand(plain, "numpy.dtype with fields")
        elif isinstance(target, NumpyArray):
            _demand(type(state) is tuple and len(state) == 5, "numpy.ndarray of unknown form")
            _, shape, kind, _, data = state
            form = _is_size(shape) and isinstance(kind, NumpyType) and type(data) is bytes
            _demand(form, "numpy.ndarray of unknown form")
            size = math.prod(shape) * int(kind.code[-1])
            _demand(size == len(data), f"numpy.ndarray that claims {size} bytes")
            target.shape = shape
        elif type(target) is not dict or type(state) is not dict or state:  # attributes: none
            raise RefusedError(f"attributes set on {type(target).__name__}")

    def _items(self, items: list[Any]) -> None:
        target, keys = self.stack[-1], items[::2]
        _demand(type(target) is dict, f"items set on {type(target).__name__}")
        _demand(all(type(k) in (str, int) for k in keys), "a dictionary with keys of no text")
        target.update(zip(keys, items[1::2], strict=True))

    def _setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._items([key, value])

    def _setitems(self) -> None:
        self._items(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        _demand(type(target) is list, f"items appended to {type(target).__name__}")
        target.extend(items)

    def _append(self) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _additems(self) -> None:
        items = self.pop_mark()
        _demand(type(self.stack[-1]) is set, f"items added to {type(self.stack[-1]).__name__}")
        self.stack[-1].update(_set(items))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = _Instructions(
        {
            code: function
            for code, function in pickle._Unpickler.dispatch.items()
            if OPCODES[code] in INSTRUCTIONS
        }
        | {
            pickle.REDUCE[0]: _reduce,
            pickle.NEWOBJ[0]: _reduce,  # cls.__new__(cls, *arguments); only EasyDict has it
            pickle.BUILD[0]: _build,
            pickle.SETITEM[0]: _setitem,
            pickle.SETITEMS[0]: _setitems,
            pickle.APPEND[0]: _append,
            pickle.APPENDS[0]: _appends,
            pickle.ADDITEMS[0]: _additems,
        }
    )
