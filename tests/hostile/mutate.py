"""Damage to files: to their bytes, to the values in them, and to the containers around them. Seeded."""

from __future__ import annotations

import io
import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Written as they are into JSON text: what json.dumps would not write.
RAW = (
    "9" * 5000,
    "-" + "9" * 400,
    "1e999",
    "-1e999",
    "NaN",
    "[" * 3000 + "]" * 3000,
    '"\\ud83d"',
    '"\\u0000"',
    "1e308",
)
ELSEWHERE = ("/etc/passwd", "/dev/zero")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e9, 60000, 2**31, 2**63, -(2**63), "", "x", "5", "²", "\u202e", "\x1b[31m",
    "../../etc/passwd", *ELSEWHERE, "a" * 10_000, [], {}, [[]], [None], {"size": 5}, [0, 0], [[0, 0, 1, 1]],
    [1e7, -1e7] * 3,
    [131000, -131000] * 20, {"size": [1, 268435456], "counts": "0"}, {"size": [12, 16], "counts": "1" * 50_000},
    {"size": [12, 16], "counts": [0, 192]}, {"size": [12, 16], "counts": [100.9, 91.1]},
    {"size": [12, 16], "counts": {"0": 192}},
)  # fmt: skip
ALIASES = "datasets:\n" + "".join(
    f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x, x'}]\n" for n in range(12)
)
YAMLS = (ALIASES, "datasets: [{name: &x [*x], path: a}]", "datasets: " + "[" * 20_000, "!!python/object/apply:os.system [id]",
         "datasets: {a: 1}", "datasets:\n  - {name: 2020-01-01, path: [a]}", "a: b: c", "\x00")  # fmt: skip


def damage(path: Path, random: random.Random) -> str:
    """Damage one file in place; return in words what was done."""
    if random.random() < 0.02:
        path.unlink()
        return "removed"
    if random.random() < 0.25:
        return _bytes(path, random)
    kind = {
        ".json": _json, ".jsonl": _json, ".p": _pickle, ".yaml": _yaml, ".npz": _arrays, ".parquet": _table,
    }.get(path.suffix, _picture)  # fmt: skip
    return kind(path, random)


def damage_value(value: Any, random: random.Random) -> tuple[Any, str]:
    """Return a JSON value with one place in it changed; RAW values stand in it as `@raw NUMBER@` texts."""
    holder = [value]
    places: list[tuple[Any, Any]] = []

    def walk(parent: Any) -> None:
        for key in list(parent if isinstance(parent, dict) else range(len(parent))):
            places.append((parent, key))
            if isinstance(parent[key], dict | list):
                walk(parent[key])

    walk(holder)
    parent, key = random.choice(places)
    old, way = parent[key], random.randrange(8)
    if way == 0 and parent is not holder:
        del parent[key]
    elif way == 1 and isinstance(parent, list):
        parent[key:key] = [json.loads(json.dumps(old))] * random.choice((1, 2, 50))
    elif way == 2 and isinstance(old, int | float):
        parent[key] = random.choice((-old, old * 1000, old + 0.5, str(old), [old], 10**18 + old))
    elif way == 3 and isinstance(old, str):
        parent[key] = random.choice(
            (old[:-1], old * 1000, old + "\ud83d", old.upper(), [old], {"a": old}, old + "\x00")
        )
    elif way == 4:
        other, at = random.choice(places)
        parent[key] = json.loads(json.dumps(other[at]))
    elif way == 5:
        parent[key] = f"@raw {random.randrange(len(RAW))}@"
    elif way == 6 and isinstance(parent, dict):
        parent[key + random.choice("s_ ")] = parent.pop(key)
    else:
        parent[key] = random.choice(VALUES)
    return holder[0], f"{key!r}: way {way}"


def text_of(value: Any) -> str:
    """Write a damaged value as JSON text."""
    text = json.dumps(value)
    for number, raw in enumerate(RAW):
        text = text.replace(f'"@raw {number}@"', raw)
    return text


def _bytes(path: Path, random: random.Random) -> str:
    data = bytearray(path.read_bytes())
    way = random.randrange(6)
    at = random.randrange(len(data)) if data else 0
    if way == 0:
        del data[at:]
    elif way == 1:
        for _ in range(random.choice((1, 3, 30))):
            data[random.randrange(len(data))] = random.randrange(256)
    elif way == 2:
        data[at:at] = random.choice(
            (
                b"\x00" * 40,
                b"\xff\xfe",
                b"[" * 50_000,
                b"\xed\xa0\xbd",
                bytes(random.randrange(256) for _ in range(20)),
            )
        )
    elif way == 3:
        del data[at : at + random.choice((1, 4, 100))]
    elif way == 4:
        data = bytearray(
            random.choice(
                (
                    b"",
                    b"null",
                    b"[]",
                    b"{}",
                    b"\xef\xbb\xbf" + data,
                    b"PK\x03\x04",
                    b"%!PS-Adobe-3.0 EPSF-3.0\n",
                )
            )
        )
    else:
        data[at : at + 4] = random.choice(
            (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x00\x00\x00")
        )
    path.write_bytes(data)
    return f"bytes: way {way} at {at}"


def _json(path: Path, random: random.Random) -> str:
    lines = path.suffix == ".jsonl"
    rows = (
        [json.loads(line) for line in path.read_text().splitlines()]
        if lines
        else json.loads(path.read_text())
    )
    said = []
    for _ in range(random.choice((1, 1, 2))):
        rows, how = damage_value(rows, random)
        said.append(how)
    text = "".join(text_of(row) + "\n" for row in rows) if lines and isinstance(rows, list) else text_of(rows)
    path.write_text(text)
    return ", ".join(said)


class _Call:
    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("pickle-ran", "w")


def _pickle(path: Path, random: random.Random) -> str:
    refs = pickle.loads(path.read_bytes())
    if random.random() < 0.1:
        path.write_bytes(pickle.dumps([*refs, _Call()], 2))
        return "a pickle that calls"
    refs, how = damage_value(refs, random)
    path.write_bytes(pickle.dumps(refs, random.choice((0, 2, 4))))
    return how


def _yaml(path: Path, random: random.Random) -> str:
    if random.random() < 0.5:
        number = random.randrange(len(YAMLS))
        path.write_text(YAMLS[number])
        return f"yaml {number}"
    lines = path.read_text().splitlines()
    line = random.randrange(len(lines))
    lines[line] = random.choice((lines[line] * 2, lines[line][:-3], lines[line].replace("path", "name"), ""))
    path.write_text("\n".join(lines))
    return f"line {line}"


def _arrays(path: Path, random: random.Random) -> str:
    with np.load(path) as data:
        arrays = dict(data)
    name = random.choice(sorted(arrays))
    old = arrays[name]
    changes = {
        "shape": old[:1], "flat": old.reshape(-1), "float": old.astype(np.float64), "text": old.astype(str),
        "negative": old.astype(np.int64) - 5, "large": old.astype(np.int64) + 10**9, "none": np.zeros(0),
        "scalar": np.array(3), "complex": old.astype(complex), "wide": np.repeat(old, 3, axis=-1), "object": old.astype(object),
    }  # fmt: skip
    how = random.choice(sorted(changes))
    arrays[name] = changes[how]
    if random.random() < 0.1:
        del arrays[name]
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=True, **arrays)
    return f"{name}: {how}"


def _table(path: Path, random: random.Random) -> str:
    import pyarrow
    import pyarrow.parquet as parquet

    rows = parquet.read_table(path).to_pylist()
    row = random.choice(rows)
    how = random.choice(("text", "text", "value", "column", "picture", "no bytes"))
    struct = [name for name, value in row.items() if isinstance(value, dict)]
    if how == "text":
        name = random.choice([name for name, value in row.items() if isinstance(value, str)])
        value = json.loads(row[name]) if row[name].startswith("{") else row[name]
        row[name] = text_of(damage_value(value, random)[0])
    elif how in ("picture", "no bytes"):
        name = random.choice(struct)
        row[name] = {
            "bytes": None if how == "no bytes" else random.choice(odd_pictures(random)),
            "path": "x.png",
        }
    else:
        name = random.choice(sorted(row))
        for each in rows:
            each.pop(name) if how == "column" else each.update(
                {name: random.choice((1, 0.5, [1], True, b"x"))}
            )
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, UnicodeEncodeError):  # rows that no table can hold
        return _bytes(path, random)
    return f"table: {how}"


def _picture(path: Path, random: random.Random) -> str:
    pictures = odd_pictures(random)
    number = random.randrange(len(pictures))
    path.write_bytes(pictures[number])
    return f"picture {number}"


_LARGE: list[bytes] = []


def odd_pictures(random: random.Random) -> list[bytes]:
    """Pictures that are other than one expects."""

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    if not _LARGE:
        for size in ((1, 7_000_000), (7_000_000, 1), (20_000, 20_000)):
            _LARGE.append(saved(Image.new("1", size), "PNG"))
    noise = Image.effect_noise((16, 12), 50)
    exif = Image.Exif()
    exif[0x0112] = random.choice((0, 5, 6, 9, 77))
    frames = [Image.new("L", (16, 12), n * 60) for n in range(3)]
    header = bytearray(saved(noise, "PNG"))
    header[16:24] = random.choice((b"\xff" * 8, b"\0" * 8, (b"\x00\x01\x00\x00") * 2))
    return [
        *_LARGE, bytes(header), b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n",
        saved(noise, "JPEG"), saved(noise, "JPEG", exif=exif), saved(noise, "PNG", exif=b"Exif\0\0not a tiff header"),
        saved(noise, "TIFF", tiffinfo={274: 6}), saved(noise, "PPM"), saved(noise, "ICO"), saved(noise, "PCX"), saved(noise, "PDF"),
        saved(noise.resize((12, 16)), "PNG"), saved(noise.convert("I;16"), "PNG"), saved(noise.convert("F"), "TIFF"),
        saved(noise.convert("CMYK"), "JPEG"), saved(noise.convert("LA"), "PNG"), saved(noise.convert("P"), "GIF"),
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), saved(Image.new("RGBA", (16, 12)), "PNG"),
        saved(noise, "PNG")[:-20], saved(noise, "WEBP"), saved(noise, "BMP"), saved(Image.new("1", (16, 12), 1), "TIFF", compression="group4"),
    ]  # fmt: skip
