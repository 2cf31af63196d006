"""Run a model over many pictures: resumable, one bad item never stops the rest.

Every finished item is one line appended to `results.jsonl`; a run that is started again skips what is there.
Failures go to `failed.jsonl` with their reason and are tried again by the next run.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from askmask.answer import Answer
from askmask.backend import replies_kept
from askmask.errors import AskMaskError, DataError, SettingError, Stopped
from askmask.formats.reading import inside
from askmask.imaging.files import list_pictures
from askmask.imaging.given import expanded, read_given
from askmask.imaging.remote import is_url
from askmask.runs.content_hash import sha256
from askmask.runs.json_text import read_rows
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import whole_file
from askmask.session import Model, Session
from askmask.show import draw_answers

AT_ONCE = 16  # prompts on one picture between two writes: what a kill can cost
RESULTS, FAILED = "results.jsonl", "failed.jsonl"
CALLS = "calls.sqlite"  # of a model behind a server: every reply, so that none is asked for twice
MADE_BY = "askmask batch"
MAX_STEM = 48  # letters of a picture's name in its overlay's: file systems take about 255 bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt about one picture; `key` names it in the results, stable between runs."""

    key: str
    image: Path | str  # a str is a URL
    prompt: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: an answer, or why there is none."""

    item: Item
    answer: Answer | None
    reason: str = ""


def read_items(source: str | Path, prompts: Iterable[str] = ()) -> tuple[list[Item], list[tuple[str, str]]]:
    """List the items of a folder or pattern (every picture with every prompt) or of a JSONL of {image, prompt, id?}.

    Returns items and (row, reason) of unusable rows. JSONL image paths are relative to the file's folder.
    Raises DataError for a source that holds none, SettingError for a folder without prompts.
    """
    given, source, prompts = str(source), Path(source), list(dict.fromkeys(prompts))
    pattern = glob.has_magic(given) and not os.path.exists(given)
    if source.is_dir() or pattern:
        if not prompts:
            kind = "a pattern" if pattern else "a folder"
            raise SettingError(
                f"{given} is {kind}: a prompt is needed", do="Add --prompt 'what to look for'."
            )
        if pattern:
            return [_item(path, path.as_posix(), p) for path in expanded(given) for p in prompts], []
        pictures = list_pictures(source)
        if not pictures:
            raise DataError("no pictures in the folder", got=source)
        return [_item(path, path.relative_to(source).as_posix(), p) for path in pictures for p in prompts], []
    items: list[Item] = []
    bad: list[tuple[str, str]] = []
    for number, row in read_rows(source, lambda number, reason: bad.append((f"line {number}", reason))):
        image, prompt = row.get("image"), row.get("prompt")
        asked = isinstance(prompt, str) or (prompt is None and prompts)
        if not isinstance(image, str) or not image or "\0" in image or not asked:
            bad.append((f"line {number}", 'needs "image" and "prompt", both text'))
            continue
        try:
            place = image if is_url(image) else inside(source.parent, image)
        except DataError as error:
            bad.append((f"line {number}", str(error)))
            continue
        name = row.get("id")
        for text in [prompt] if isinstance(prompt, str) else prompts:
            item = _item(place, image, text)
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
    allow_urls: bool = False,
    threshold: float | None = None,
    words: bool = True,
) -> Iterator[Outcome]:
    """Answer the items not yet in `out`, writing as they come; yield an Outcome each.

    `on_start(done, total)` is told how much an earlier run has done. Prompts on one picture share its encoding.
    `source` and `unusable` are what was given to and got from `read_items`, `threshold` what the model was loaded
    with if that is not its own, `words` whether replies are wanted. Raises SettingError if `out` holds
    results of other weights, another protocol or source, or another prompt under an item's id, and if another
    run is writing there; Stopped where no further item would fare better: those left are asked by the next run.
    """
    facts: dict[str, Any] = {
        "model": model.name,
        "weights": model.backend.fingerprint,
        "protocol": model.backend.protocol_name,
        "source": str(Path(source).resolve()),
    }
    facts |= {} if threshold is None else {"threshold": threshold}
    facts |= {} if words else {"words": False}
    with output_folder(out, MADE_BY, facts) as folder, folder.log(RESULTS) as results:
        pictures = _Pictures()
        done = _finished(results.path)
        todo = [item for item in items if not _answered(item, done, pictures)]
        on_start(len(items) - len(todo), len(items))
        folder.remove(FAILED)
        with folder.log(FAILED) as failed, replies_kept(model.backend, lambda: folder.path(CALLS)):
            for name, reason in unusable:
                failed.append({"id": name, "reason": reason})
            outcomes = (
                outcome
                for image, group in groupby(todo, key=lambda item: item.image)
                for outcome in _one_picture(model, image, list(group), allow_urls, words)
            )
            drawn = _drawn_now(items, folder.root, results.path, allow_urls) if overlays else ()
            for outcome in chain(drawn, outcomes):
                row = {"id": outcome.item.key, "image": str(outcome.item.image)}
                if outcome.answer is None:
                    failed.append(row | {"prompt": outcome.item.prompt, "reason": outcome.reason})
                else:
                    if overlays:
                        _draw(outcome.answer, _overlay(folder.root, outcome.item))
                    picture = pictures.sha256(outcome.item.image)
                    results.append(row | {"picture": picture} | outcome.answer.to_dict())
                yield outcome


def _drawn_now(items: list[Item], out: Path, results: Path, allow_urls: bool) -> Iterator[Outcome]:
    """Draw the overlays that a run before this one was not asked for; yield what could not be drawn."""
    missing = {item.key: item for item in items if not _overlay(out, item).exists()}
    for _, row in read_rows(results) if missing else ():
        if (item := missing.get(row["id"])) is not None:
            try:
                answer = replace(Answer.from_dict(row), picture=read_given(item.image, allow_urls=allow_urls))
                _draw(answer, _overlay(out, item))
            except (AskMaskError, KeyError, TypeError, ValueError) as error:
                yield Outcome(item, None, f"its overlay cannot be drawn: {_reason(error)}")


def _overlay(out: Path, item: Item) -> Path:
    stem = Path(urlsplit(item.image).path if isinstance(item.image, str) else item.image).stem
    return out / f"overlay-{stem[:MAX_STEM]}-{_short_hash(item.key)}.png"


def _draw(answer: Answer, path: Path) -> None:
    with whole_file(path) as temporary:
        draw_answers([answer]).save(temporary, format="PNG")


def _one_picture(
    model: Model, image: Path | str, items: list[Item], allow_urls: bool, words: bool
) -> Iterator[Outcome]:
    try:
        session = model.open(read_given(image, allow_urls=allow_urls) if isinstance(image, str) else image)
    except Exception as error:  # whatever is wrong with one picture, the others are asked
        yield from (Outcome(item, None, _reason(error)) for item in items)
        return
    for first in range(0, len(items), AT_ONCE):
        group = items[first : first + AT_ONCE]
        try:
            answers = session.ask_many([item.prompt for item in group], words=words)
        except Exception:  # one of them is at fault: find out which
            yield from (_one_prompt(session, item, words) for item in group)
        else:
            yield from (Outcome(item, answer) for item, answer in zip(group, answers, strict=True))


def _one_prompt(session: Session, item: Item, words: bool) -> Outcome:
    try:
        return Outcome(item, session.ask_many([item.prompt], words=words)[0])
    except Stopped:
        raise
    except Exception as error:
        return Outcome(item, None, _reason(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AskMaskError) else f"{type(error).__name__}: {str(error)[:300]}"


class _Pictures:
    """Hashes of picture files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def sha256(self, path: Path | str) -> str | None:
        """Return the hash of a file's bytes; None if it cannot be read, and for a URL."""
        if isinstance(path, str):
            return None
        if path not in self._known:
            try:
                self._known[path] = sha256(path) if path.is_file() else None
            except OSError:
                self._known[path] = None
        return self._known[path]


def _finished(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return id -> (prompt, hash of the picture) of what was answered before."""
    done = {}
    for number, row in read_rows(path):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("prompt"), str):
            raise DataError(f"{path}, line {number}: not a result of askmask", do="Choose another --out.")
        done[row["id"]] = row["prompt"], row.get("picture")
    return done


def _answered(item: Item, done: dict[str, tuple[str, str | None]], pictures: _Pictures) -> bool:
    """Whether an item was answered before. Raises SettingError if its id was, with another prompt or picture."""
    if item.key not in done:
        return False
    prompt, picture = done[item.key]
    now = pictures.sha256(item.image)
    what, got = "prompt", repr(item.prompt[:80])
    if prompt == item.prompt:
        if now is None or now == picture:  # a picture that is gone contradicts nothing
            return True
        what, got = "picture", f"other bytes in {item.image}"
    raise SettingError(
        f"the results hold {item.key!r} with another {what}",
        got=got,
        do="Choose another --out, or another id.",
    )


def _item(path: Path | str, name: str, prompt: str) -> Item:
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
