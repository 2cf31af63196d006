"""Run a model over many pictures: resumable, one bad item never stops the rest.

Every finished item is one line appended to `results.jsonl`; a run that is started again skips what is there.
Failures go to `failed.jsonl` with their reason and are tried again by the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from askmask.answer import Answer, draw_answers, json_text
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.formats.own import read_rows
from askmask.imaging.files import list_pictures, read_picture
from askmask.session import Model, Session

AT_ONCE = 16  # prompts on one picture between two writes: what a kill can cost
RESULTS, FAILED, RUN, LOCK = "results.jsonl", "failed.jsonl", "run.json", ".lock"
MAX_STEM = 48  # letters of a picture's name in its overlay's: file systems take about 255 bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt about one picture; `key` names it in the results, stable between runs."""

    key: str
    image: Path
    prompt: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: an answer, or why there is none."""

    item: Item
    answer: Answer | None
    reason: str = ""


def read_items(source: str | Path, prompts: Iterable[str] = ()) -> tuple[list[Item], list[tuple[str, str]]]:
    """List the items of a folder (every picture with every prompt) or of a JSONL of {image, prompt, id?}.

    Returns items and (row, reason) of unusable rows. JSONL image paths are relative to the file's folder.
    Raises DataError for a source that holds none, SettingError for a folder without prompts.
    """
    source, prompts = Path(source), list(prompts)
    if source.is_dir():
        if not prompts:
            raise SettingError(
                f"{source} is a folder: a prompt is needed", do="Add --prompt 'what to look for'."
            )
        pictures = list_pictures(source)
        if not pictures:
            raise DataError("no pictures in the folder", got=source)
        return [_item(path, path.relative_to(source).as_posix(), p) for path in pictures for p in prompts], []
    items: list[Item] = []
    bad: list[tuple[str, str]] = []
    for number, row in read_rows(source, lambda number, reason: bad.append((f"line {number}", reason))):
        image, prompt = row.get("image"), row.get("prompt")
        if not isinstance(image, str) or not (isinstance(prompt, str) or (prompt is None and prompts)):
            bad.append((f"line {number}", 'needs "image" and "prompt", both text'))
            continue
        name = row.get("id")
        for text in [prompt] if prompt is not None else prompts:
            item = _item(source.parent / image, image, text)
            items.append(Item(str(name), item.image, text) if isinstance(name, (str, int)) else item)
    if not items:
        raise DataError(f"{source}: no rows to ask", got=": ".join(bad[0]) if bad else None)
    return _distinct(items), bad


def run_batch(
    model: Model,
    items: list[Item],
    out: str | Path,
    *,
    source: str | Path = "",
    unusable: Iterable[tuple[str, str]] = (),
    overlays: bool = False,
    on_start: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """Answer the items not yet in `out`, writing as they come; yield an Outcome each.

    `on_start(done, total)` is told how much an earlier run has done. Prompts on one picture share its encoding.
    `source` and `unusable` are what was given to and got from `read_items`. Raises SettingError if `out` holds
    results of other weights, another protocol or source, or another prompt under an item's id, and if another
    run is writing there.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with _only_run(out):
        facts = {
            "model": model.name,
            "weights": model.backend.fingerprint,
            "protocol": model.backend.protocol_name,
        }
        _check_same_run(out / RUN, facts | {"source": str(Path(source).resolve())})
        done = finished(out / RESULTS)
        todo = [item for item in items if not _answered(item, done)]
        on_start(len(items) - len(todo), len(items))
        yield from _ask_all(model, todo, out, unusable, overlays)


def _ask_all(
    model: Model, todo: list[Item], out: Path, unusable: Iterable[tuple[str, str]], overlays: bool
) -> Iterator[Outcome]:
    with (
        (out / RESULTS).open("a", encoding="utf-8") as results,
        (out / FAILED).open("w", encoding="utf-8") as failed,
    ):
        for name, reason in unusable:
            _append(failed, {"id": name, "reason": reason})
        for image, group in groupby(todo, key=lambda item: item.image):
            for outcome in _one_picture(model, image, list(group)):
                if outcome.answer is None:
                    row = {"id": outcome.item.key, "image": str(image), "prompt": outcome.item.prompt}
                    _append(failed, row | {"reason": outcome.reason})
                else:
                    if overlays:
                        name = f"overlay-{image.stem[:MAX_STEM]}-{_short_hash(outcome.item.key)}.png"
                        draw_answers([outcome.answer]).save(out / name)
                    row = {"id": outcome.item.key, "image": str(image)} | outcome.answer.to_dict()
                    _append(results, row)
                yield outcome


def _one_picture(model: Model, image: Path, items: list[Item]) -> Iterator[Outcome]:
    try:
        session = model.open(read_picture(image))
    except Exception as error:  # whatever is wrong with one picture, the others are asked
        yield from (Outcome(item, None, _reason(error)) for item in items)
        return
    for first in range(0, len(items), AT_ONCE):
        group = items[first : first + AT_ONCE]
        try:
            answers = session.ask_many([item.prompt for item in group])
        except Exception:  # one of them is at fault: find out which
            yield from (_one_prompt(session, item) for item in group)
        else:
            yield from (Outcome(item, answer) for item, answer in zip(group, answers, strict=True))


def _one_prompt(session: Session, item: Item) -> Outcome:
    try:
        return Outcome(item, session.ask_many([item.prompt])[0])
    except Exception as error:
        return Outcome(item, None, _reason(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AskMaskError) else f"{type(error).__name__}: {str(error)[:300]}"


def finished(path: Path) -> dict[str, str | None]:
    """Return id -> prompt of whole lines; cut off a last line that a killed run left unfinished."""
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    done = {}
    for number, line in enumerate(data[:whole].split(b"\n"), 1):
        try:
            if line.strip():
                row = json.loads(line)
                done[row["id"]] = row.get("prompt")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number}: not a result of askmask", do="Choose another --out."
            ) from error
    return done


def _answered(item: Item, done: dict[str, str | None]) -> bool:
    if item.key in done and done[item.key] != item.prompt:
        raise SettingError(
            f"the results hold {item.key!r} with another prompt",
            got=repr(item.prompt[:80]),
            do="Choose another --out, or another id.",
        )
    return item.key in done


def _append(file: IO[str], row: dict) -> None:
    file.write(json_text(row) + "\n")
    file.flush()


def _item(path: Path, name: str, prompt: str) -> Item:
    return Item(f"{name}#{_short_hash(prompt)}", path, prompt)


def _short_hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode(errors="surrogatepass")).hexdigest()[:8]


def _distinct(items: list[Item]) -> list[Item]:
    """Keep every item under a key of its own: a repeated id gets its prompt's hash, an equal row goes."""
    kept: dict[str, Item] = {}
    for item in items:
        key = item.key
        if key in kept and kept[key] != item:
            key = f"{item.key}#{_short_hash(str(item.image), item.prompt)}"
        kept.setdefault(key, Item(key, item.image, item.prompt))
    return list(kept.values())


def _check_same_run(path: Path, facts: dict[str, str]) -> None:
    if not path.is_file():
        partial = path.with_suffix(".partial")
        partial.write_text(json_text(facts) + "\n", encoding="utf-8")
        partial.replace(path)
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not a run of askmask", do="Choose another --out.") from error
    for name, value in facts.items():
        if before.get(name) != value:
            raise SettingError(
                f"{path.parent} holds results of another {name}: {before.get(name)}",
                got=value,
                do="Choose another --out.",
            )


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    try:
        with FileLock(out / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise SettingError(
            f"another run is writing to {out}", do="Wait for it, or choose another --out."
        ) from error
