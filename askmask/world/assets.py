"""The kinds of things a scene can hold, read from assets.toml, and the form a seed gives each."""

from __future__ import annotations

import ast
import math
import operator
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from askmask.errors import DataError
from askmask.world import shapes
from askmask.world.appearance import COLOURS, MATERIALS
from askmask.world.shapes import Collider, Interior, Shape, Vector, Visual

_VISUALS: dict[str, Callable[..., Visual]] = {
    "lathe": shapes.lathe,
    "vessel": shapes.vessel,
    "tube": shapes.tube,
    "ring": shapes.ring_handle,
    "globe": shapes.globe,
    "block": shapes.block,
    "solid": shapes.block,
}
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS = {"cos": np.cos, "sin": np.sin}
_UPRIGHT = ("one", "ends", "sides", "any")
_FORM = set("sizes seen felt shell hollow size turned lid mass rolling friction".split())


@dataclass(frozen=True, slots=True)
class Asset:
    """A category of things; the fields are explained at the top of assets.toml.

    A category never decides a physical fact. A pose named several times is drawn that much more often.
    """

    name: str
    form: Mapping[str, Any]  # what `build` reads
    materials: tuple[str, ...]
    poses: tuple[str, ...] = ("upright",)
    traits: frozenset[str] = frozenset()
    colours: tuple[str, ...] = ()  # empty: any colour
    scatter: float = 1.0
    upright: str = "one"
    off_centre: bool = False

    def __post_init__(self) -> None:
        known = (self.materials, MATERIALS), (self.colours, COLOURS), ((self.upright,), _UPRIGHT)
        for words, allowed in known:
            if unknown := set(words) - set(allowed):
                raise DataError(f"assets.toml, {self.name}: unknown words", got=", ".join(sorted(unknown)))

    def build(self, rng: np.random.Generator) -> Shape:
        """Draw the sizes of one such thing and build its form. Raises DataError, naming the asset."""
        try:
            return _build(self.form, rng)
        except (LookupError, TypeError, ValueError, SyntaxError) as error:
            raise DataError(f"assets.toml, {self.name}: the form does not build", got=repr(error)) from error


def _build(form: Mapping[str, Any], rng: np.random.Generator) -> Shape:
    sizes: dict[str, Any] = {"pi": math.pi}
    for name, size in form["sizes"].items():
        sizes[name] = rng.uniform(*size) if isinstance(size, list) else evaluate(size, sizes)
    lid = form.get("lid", {})
    lidded = bool(lid) and bool(rng.random() < lid["share"])
    seen, felt, shell = (
        [*form.get(rows, ()), *(lid.get(rows, ()) if lidded else ())] for rows in ("seen", "felt", "shell")
    )
    visuals: list[Visual] = []
    colliders = [collider for row in felt for collider in _colliders(row, sizes)]
    for row in seen:
        made = list(_visuals(row, sizes))
        visuals += made
        if row[0] == "solid":
            colliders += [Collider("box", v.box[0], v.box[1]) for v in made if v.box]
    if "turned" in form:
        radius, tall = (evaluate(value, sizes) for value in form["turned"])
        tall = evaluate(lid["tall"], sizes) if lidded else tall
        wide = max(float(np.ptp(np.concatenate([v.vertices for v in visuals])[:, k])) for k in (0, 1))
        size = (max(wide, 2 * radius), 2 * radius, tall)
    else:
        size = evaluate(form["size"], sizes)
    interior = None
    if "hollow" in form:
        half, floor, rim = (evaluate(value, sizes) for value in form["hollow"])
        interior = Interior(half if isinstance(half, tuple) else (half, half), floor, rim)
    return Shape(
        tuple(visuals),
        tuple(colliders),
        size,
        form["mass"],
        interior=interior,
        shell=tuple(collider for row in shell for collider in _colliders(row, sizes)),
        rolling=form.get("rolling", 0.0),
        friction=form.get("friction", 0.7),
        lidded=lidded,
    )


def _visuals(row: list[Any], sizes: Mapping[str, Any]) -> Iterator[Visual]:
    kind, label, *arguments = row
    options = arguments.pop() if isinstance(arguments[-1], dict) else {}
    part, _, paint = label.partition(":")
    loops = {name: values for name, values in options.items() if isinstance(values, list)}
    made = []
    for bound in zip(*loops.values(), strict=True) if loops else [()]:
        names = {**sizes, **dict(zip(loops, bound, strict=True))}
        keywords = {name: evaluate(value, names) for name, value in options.items() if name not in loops}
        moves = [keywords.pop(name, None) for name in ("scale", "lying", "shift", "join")][:3]
        values = [evaluate(argument, names) for argument in arguments]
        made.append(_moved(_VISUALS[kind](part, *values, paint=paint or "body", **keywords), *moves))
    if "join" in options:
        starts = np.cumsum([0, *(len(v.vertices) for v in made[:-1])])
        faces = np.concatenate([v.faces + start for v, start in zip(made, starts, strict=True)])
        made = [Visual(part, made[0].paint, np.concatenate([v.vertices for v in made]), faces)]
    yield from made


def _moved(visual: Visual, scale: Vector | None, lying: bool | None, shift: Vector | None) -> Visual:
    """Scale a mesh (a mirrored one keeps its outside out), lay it from z along x, shift it."""
    points, faces = visual.vertices, visual.faces
    if scale:
        points, faces = points * scale, faces if math.prod(scale) > 0 else faces[:, ::-1]
    if lying:
        points = points[:, [2, 1, 0]] * [1, 1, -1]
    if shift:
        points = points + shift
    return visual if points is visual.vertices else Visual(visual.part, visual.paint, points, faces)


def _colliders(row: list[Any], sizes: Mapping[str, Any]) -> tuple[Collider, ...]:
    kind, *values = row[0], *(evaluate(value, sizes) for value in row[1:])
    if kind == "wall":
        return shapes.wall(*values)
    return (shapes.column(*values) if kind == "column" else Collider(kind, *values),)


def evaluate(formula: Any, names: Mapping[str, Any]) -> Any:
    """Compute a formula of numbers, names, + - * /, cos, sin and tuples; what is no text is itself."""
    return _value(_parsed(formula), names) if isinstance(formula, str) else formula


@cache
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return names[name]
        case ast.Tuple(elts=items):
            return tuple(_value(item, names) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            return float(_FUNCTIONS[function](_value(argument, names)))
    raise ValueError(f"not a formula: {ast.unparse(node)}")


def _read() -> dict[str, Asset]:
    text = resources.files("askmask.world").joinpath("assets.toml").read_text(encoding="utf-8")
    found = {}
    for name, table in tomllib.loads(text).items():
        lists = {
            key: tuple(table.pop(key).split()) for key in ("materials", "poses", "colours") if key in table
        }
        fields = lists | {key: table.pop(key) for key in ("scatter", "upright", "off_centre") if key in table}
        traits = frozenset(table.pop("traits").split())
        if unknown := set(table) - _FORM:
            raise DataError(f"assets.toml, {name}: unknown keys", got=", ".join(sorted(unknown)))
        found[name] = Asset(name=name, form=table, traits=traits, **fields)
    return found


ASSETS = _read()
