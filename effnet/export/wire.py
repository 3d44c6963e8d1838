"""Changes to a serialised ONNX model, without the onnx package.

Protocol buffers' wire format: https://protobuf.dev/programming-guides/encoding. The numbers of the
fields are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5

_METADATA = 14
"""ModelProto.metadata_props"""
_OPSETS, _VERSION = 8, 2
"""ModelProto.opset_import, and its version"""
_OUTPUT_SHAPE = (7, 12, 2, 1, 2)
"""ModelProto.graph.output.type.tensor_type.shape"""
_DIM, _DIM_PARAM = 1, 2
"""TensorShapeProto.dim, and its dim_param"""


def with_metadata(model: bytes, values: Mapping[str, str]) -> bytes:
    """The model with more entries in its metadata."""
    entries = (
        _field(1, key.encode()) + _field(2, value.encode("utf-8")) for key, value in values.items()
    )
    # A repeated field may be continued at the end.
    return model + b"".join(_field(_METADATA, entry) for entry in entries)


def with_free_batch(model: bytes, name: str = "batch") -> bytes:
    """The model with `name` as the first dimension of every output.

    MindSpore 2.10's exporter frees only the inputs', and leaves the batch it was compiled with.
    """

    def free(shape: bytes) -> bytes:
        dims = [payload for number, _, payload, _ in _fields(shape) if number == _DIM]
        dims[0] = _field(_DIM_PARAM, name.encode())
        return b"".join(_field(_DIM, dim) for dim in dims)

    return _change(model, _OUTPUT_SHAPE, free)


def with_opset(model: bytes, version: int) -> bytes:
    """The model as of another version of ONNX's operators, which must be the same there."""

    def changed(opset: bytes) -> bytes:
        kept = b"".join(whole for number, _, _, whole in _fields(opset) if number != _VERSION)
        return kept + _varint(_VERSION << 3 | _VARINT) + _varint(version)

    return _change(model, (_OPSETS,), changed)


def _change(message: bytes, path: Sequence[int], change: Callable[[bytes], bytes]) -> bytes:
    if not path:
        return change(message)
    return b"".join(
        _field(number, _change(payload, path[1:], change))
        if number == path[0] and kind == _BYTES
        else whole
        for number, kind, payload, whole in _fields(message)
    )


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Each field's number, wire type, payload, and the whole field as in the message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        begin = at
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _BYTES:
            length, begin = _read_varint(message, at)
            at = begin + length
        elif kind in (_FIXED_64, _FIXED_32):
            at += 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if at > len(message):
            raise ValueError(f"the field at byte {start} is cut off")
        yield number, kind, message[begin:at], message[start:at]


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
