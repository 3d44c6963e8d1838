"""MindIR as MindSpore Lite 2.0 reads it, and MindSpore 2.10 still does: version 1.

MindSpore 2.10 writes version 3: its operators take as inputs what were attributes, parameters pass
through Load nodes, and SiLU is an operator. See docs/design/mindir.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from effnet.errors import EffnetError
from effnet.export.record import INPUT, OUTPUT

VERSION = 1


class UnknownOperator(EffnetError):
    """The network has an operator, or a form of one, that is not rewritten here."""


# Inputs that are constants in version 3 and attributes in version 1, by their place; and the names
# of what remains.
_ATTRIBUTES: dict[str, dict[int, str]] = {
    "BatchNorm": {5: "is_training", 6: "epsilon", 7: "momentum", 8: "format"},
    "BiasAdd": {2: "format"},
    "MatMul": {2: "transpose_a", 3: "transpose_b"},
    "ReduceMean": {2: "keep_dims"},
}
_INPUT_NAMES: dict[str, tuple[str, ...]] = {
    "Add": ("x", "y"),
    "BatchNorm": ("x", "scale", "offset", "mean", "variance"),
    "BiasAdd": ("x", "b"),
    "Conv2D": ("x", "w"),
    "MatMul": ("x1", "x2"),
    "Mul": ("x", "y"),
    "ReduceMean": ("input_x", "axis"),
    "Sigmoid": ("x",),
    "TupleGetItem": (),
}
_OUTPUT_NAMES: dict[str, tuple[str, ...]] = {
    "BatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "TupleGetItem": (),
}
_FORMATS = {0: "NCHW", 1: "NHWC"}


def rewrite(model: Any) -> None:
    """Change a MindIR ModelProto of version 3 in place; raises `UnknownOperator`.

    It is what `mindspore.export(custom_func=…)` calls before it writes.
    """
    _Rewriting(model).run()


class _Rewriting:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._graph = model.graph
        self._primitives = {primitive.name: primitive for primitive in model.primitives}
        self._constants = {n.output[0]: n for n in self._graph.node if n.op_type == "Constant"}
        self._renamed: dict[str, str] = {}
        self._made: dict[tuple[Any, ...], Any] = {}

    def run(self) -> None:
        graph, model = self._graph, self._model
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise UnknownOperator("the network has more than one input or output")
        self._renamed[graph.input[0].name] = INPUT
        graph.input[0].name = INPUT
        nodes = list(self._rewritten(list(graph.node)))
        last = self._name(graph.output[0].name)
        for node in nodes:
            _replace(node.input, [OUTPUT if name == last else name for name in node.input])
            _replace(node.output, [OUTPUT if name == last else name for name in node.output])
        graph.output[0].name = OUTPUT
        used = {name for node in nodes for name in node.input}
        constants = [node for name, node in self._constants.items() if name in used]
        del graph.node[:]
        graph.node.extend([*constants, *nodes])
        del model.primitives[:]
        model.primitives.extend(self._made.values())
        model.mind_ir_version = VERSION

    def _rewritten(self, nodes: list[Any]) -> Iterator[Any]:
        """In order, since a name must be known before it is used."""
        pending: set[str] = set()
        for node in nodes:
            operator = self._operator(node)
            if operator in ("Load", "Depend"):
                self._renamed[node.output[0]] = self._name(node.input[0])
            elif operator in ("UpdateState", "MakeTuple"):
                # They order side effects, of which an evaluated network has none.
                pending.add(node.output[0])
            elif operator == "SiLU":
                yield from self._silu(node)
            elif operator in _INPUT_NAMES:
                _replace(node.input, [self._name(name) for name in node.input])
                if not pending.isdisjoint(node.input):
                    raise UnknownOperator(f"{operator} takes a tuple or a side effect")
                self._set_primitive(node, operator)
                yield node
            elif operator != "Constant":
                raise UnknownOperator(
                    f"MindIR version {VERSION} is not written for the operator {operator}"
                )

    def _operator(self, node: Any) -> str:
        if not node.op_type.startswith("REF::"):
            return str(node.op_type)
        return str(self._primitives[node.op_type.removeprefix("REF::")].op_type)

    def _name(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _silu(self, node: Any) -> Iterator[Any]:
        """x * sigmoid(x)."""
        source = self._name(node.input[0])
        gate = type(node)()
        gate.CopyFrom(node)
        gate.name = f"{node.name}_gate"
        gate.domain = f"{node.domain}_gate"
        _replace(gate.output, [gate.name])
        _replace(gate.input, [source])
        self._set_primitive(gate, "Sigmoid")
        yield gate
        _replace(node.input, [source, gate.name])
        self._set_primitive(node, "Mul")
        yield node

    def _set_primitive(self, node: Any, operator: str) -> None:
        """Constant inputs become attributes of a primitive, which equal nodes share."""
        places = _ATTRIBUTES.get(operator, {})
        values = {key: self._constant(node, place) for place, key in places.items()}
        if operator == "BatchNorm" and values["is_training"]:
            raise UnknownOperator("BatchNorm is in training mode")
        if "format" in values:
            values["format"] = _FORMATS[values["format"]]
        _replace(node.input, [name for at, name in enumerate(node.input) if at not in places])
        old = node.op_type if operator == "Conv2D" else ""
        key = (operator, old, *values.items())
        if key not in self._made:
            self._made[key] = self._primitive(operator, old, values, len(self._made))
        node.op_type = f"REF::{self._made[key].name}"

    def _constant(self, node: Any, place: int) -> Any:
        name = node.input[place] if place < len(node.input) else ""
        found = self._constants.get(name)
        if found is None or len(found.attribute) != 1:
            raise UnknownOperator(f"input {place} of {node.op_type} is not a constant")
        value = found.attribute[0]
        kind = type(value).AttributeType.Name(value.type)
        if kind == "FLOAT":
            return float(value.f)
        if kind == "BOOL":
            return bool(value.i)
        if kind == "INT64":
            return int(value.i)
        raise UnknownOperator(f"input {place} of {node.op_type} is a constant of type {kind}")

    def _primitive(self, operator: str, old: str, values: dict[str, Any], number: int) -> Any:
        made = self._model.primitives.add()
        if old:
            made.CopyFrom(self._primitives[old.removeprefix("REF::")])
        made.name = f"{operator}:{number}"
        made.op_type = operator
        made.prim_type = type(made).PrimType.Value("PRIMITIVE")
        for key, value in values.items():
            _set(made.attribute.add(), key, value)
        present = {attribute.name for attribute in made.attribute}
        names = {
            "input_names": _INPUT_NAMES[operator],
            "output_names": _OUTPUT_NAMES.get(operator, ("output",)),
        }
        for key, listed in names.items():
            if key not in present and listed:
                _set(made.attribute.add(), key, listed)
        found = type(made)()
        found.CopyFrom(made)
        return found


def _set(attribute: Any, name: str, value: Any) -> None:
    kinds = type(attribute).AttributeType
    attribute.name = name
    if isinstance(value, bool):
        attribute.type, attribute.i = kinds.Value("BOOL"), int(value)
    elif isinstance(value, float):
        attribute.type, attribute.f = kinds.Value("FLOAT"), value
    elif isinstance(value, str):
        attribute.type, attribute.s = kinds.Value("STRING"), value.encode()
    else:
        attribute.type = kinds.Value("LIST")
        for item in value:
            part = attribute.values.add()
            part.type = kinds.Value("STRING")
            # Not `s`: readers look for a list's texts here.
            part.strings.append(item.encode())


def _replace(field: Any, values: list[str]) -> None:
    del field[:]
    field.extend(values)
