"""Run a model over a data set: append-only, resumable, in shards without doubles or losses.

The model is handed in as a `Predictor`; this file knows no network. A run is a folder:

    run.json                              what is asked of what; a resume that differs is refused
    predictions-00000-of-00002.jsonl      one line per answered item, see predictions.py
    replies-00000-of-00002.jsonl          the same for rounds without true mask, for text scores
    failed-00000-of-00002.jsonl           items that could not be answered, tried again by the next run
    stats-00000-of-00002.jsonl            one line per run: items a second, memory

Shards divide the pictures by their order in the data set, so every prompt on a picture stays with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.truth import item_id
from askmask.imaging.mask import Mask


class Reply(Protocol):
    """What a predictor returns for one prompt; `askmask.Answer` is one."""

    @property
    def masks(self) -> Sequence[Mask]:
        """One mask per instance, at picture size."""

    @property
    def found(self) -> bool:
        """False: the model says that nothing matches."""

    @property
    def score(self) -> float | None:
        """How sure the model is."""

    @property
    def text(self) -> str:
        """Words, empty if there are none."""


# (path of the picture, prompts of each conversation over it) -> replies of each conversation
Predictor = Callable[[str, list[list[str]]], list[list[Reply]]]

HISTORIES = ("none", "self")


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt of a data set: its item id, and whether a true mask awaits it."""

    id: str
    prompt: str
    labelled: bool


@dataclass(frozen=True, slots=True)
class Pictured:
    """One picture and the conversations over it."""

    image: str
    conversations: tuple[tuple[Question, ...], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is; `failed` counts items of this run that could not be answered."""

    done: int
    total: int
    failed: int = 0


def plan(examples: Iterable[Example], *, history: str = "none") -> list[Pictured]:
    """Group a data set's prompts by picture, in order of first appearance; masks are not kept.

    With history "none" every labelled prompt stands alone. With "self" whole conversations are asked in order.
    """
    if history not in HISTORIES:
        raise SettingError("no such history", got=repr(history), do=f"Choose of {', '.join(HISTORIES)}.")
    pictures: dict[str, list[tuple[Question, ...]]] = {}
    seen: set[str] = set()
    for example in examples:
        questions = tuple(
            Question(item_id(example, index), round.text, round.masks is not None)
            for index, round in enumerate(example.rounds)
            if history == "self" or round.masks is not None
        )
        for question in questions:
            if question.id in seen:
                raise DataError(f"id {question.id!r} occurs twice in the data set")
            seen.add(question.id)
        if questions:
            split = [(question,) for question in questions] if history == "none" else [questions]
            pictures.setdefault(example.image, []).extend(split)
    return [Pictured(image, tuple(conversations)) for image, conversations in pictures.items()]


def predict(
    predictor: Predictor,
    pictures: Sequence[Pictured],
    out: str | Path,
    *,
    facts: Mapping[str, str],
    shard: int = 0,
    shards: int = 1,
    limit: int | None = None,
) -> Iterator[Progress]:
    """Answer one shard's items that no shard in `out` has answered yet; yield after every picture.

    `limit` stops after the first so many pictures of the set; a later run without it goes on.

    `facts` say what run this is (model, data set, history); they are written to run.json and held against it.
    Raises SettingError if `out` belongs to another run, or the shard is being worked on by another process.
    """
    if not 0 <= shard < shards:
        raise SettingError(f"shard {shard} of {shards} does not exist", do="Count from 0.")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tag = f"{shard:05d}-of-{shards:05d}"
    with _claim(out, shard, shards):
        _check_run(out / "run.json", {**facts, "questions": _fingerprint(pictures)})
        for kind in ("predictions", "replies"):
            _cut_torn_line(out / f"{kind}-{tag}.jsonl")
        answered = answered_ids(out)
        (out / f"failed-{tag}.jsonl").unlink(missing_ok=True)
        mine = pictures[:limit][shard::shards]
        total = sum(len(c) for picture in mine for c in picture.conversations)
        done = sum(q.id in answered for picture in mine for c in picture.conversations for q in c)
        failed, before, start = 0, done, time.perf_counter()
        yield Progress(done, total)
        files = {kind: (out / f"{kind}-{tag}.jsonl").open("a", encoding="utf-8") for kind in KINDS}
        try:
            for picture in mine:
                todo = [c for c in picture.conversations if any(q.id not in answered for q in c)]
                if not todo:
                    continue
                for questions, replies, reason in _ask(predictor, picture.image, todo):
                    for index, question in enumerate(questions):
                        if question.id in answered:
                            continue
                        if replies is None:
                            failed += 1
                            row = {"id": question.id, "image": picture.image, "prompt": question.prompt}
                            _append(files["failed"], row | {"reason": reason})
                        else:
                            done += 1
                            kind = "predictions" if question.labelled else "replies"
                            _append(files[kind], prediction_of(question.id, replies[index]).to_dict())
                yield Progress(done, total, failed)
        finally:
            seconds = time.perf_counter() - start
            for kind, file in files.items():
                file.close()
                if not (out / f"{kind}-{tag}.jsonl").stat().st_size:
                    (out / f"{kind}-{tag}.jsonl").unlink()
            if done > before:
                with (out / f"stats-{tag}.jsonl").open("a", encoding="utf-8") as file:
                    _append(file, statistics(done - before, seconds))


KINDS = ("predictions", "replies", "failed")


def prediction_of(name: str, reply: Reply) -> Prediction:
    """Turn a reply into the prediction that is stored: a reply that found nothing says so."""
    return Prediction(
        id=name,
        masks=tuple(reply.masks) if reply.found else (),
        no_target=not reply.found,
        score=None if reply.score is None else float(reply.score),
        text=reply.text or None,
    )


def predictor_of(model: Any, *, history: str = "none") -> Predictor:
    """Make a Predictor of `askmask.load(name)`: each picture is encoded once for all its prompts.

    With history "self" each conversation is asked round by round in a fresh session over the same encoding, so
    that a model with memory sees its own earlier answers. Nothing is teacher-forced.
    """

    def ask(image: str, conversations: list[list[str]]) -> list[list[Reply]]:
        session = model.open(image)
        if history == "none":
            replies = iter(session.ask_many([prompt for prompts in conversations for prompt in prompts]))
            return [[next(replies) for _ in prompts] for prompts in conversations]
        results = []
        for prompts in conversations:
            session.rounds.clear()
            results.append([session.ask(prompt) for prompt in prompts])
        return results

    return ask


def answered_ids(out: Path) -> set[str]:
    """Return the ids of all whole lines of all shards, whatever their number was."""
    found: set[str] = set()
    for kind in ("predictions", "replies"):
        for path in sorted(out.glob(f"{kind}-*.jsonl")):
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        found.add(json.loads(line)["id"])
    return found


def failures(out: Path) -> list[dict[str, Any]]:
    """Return the rows of all failed-*.jsonl whose item no shard has answered since."""
    answered = answered_ids(out)
    rows = []
    for path in sorted(out.glob("failed-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            rows += [json.loads(line) for line in file if line.endswith("\n")]
    return [row for row in rows if row["id"] not in answered]


def statistics(items: int, seconds: float) -> dict[str, Any]:
    """Return items a second and the highest memory of this process, in megabytes (graphics memory too)."""
    import sys

    stats: dict[str, Any] = {
        "items": items,
        "seconds": round(seconds, 3),
        "items_per_second": round(items / seconds, 3) if seconds else None,
    }
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        stats["memory_mb"] = round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
    except ImportError:  # Windows
        pass
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        stats["cuda_memory_mb"] = round(torch.cuda.max_memory_allocated() / (1 << 20), 1)
    return stats


def _ask(
    predictor: Predictor, image: str, todo: list[tuple[Question, ...]]
) -> Iterator[tuple[tuple[Question, ...], list[Reply] | None, str]]:
    """Ask all conversations over a picture together; if that fails, one by one, to find which is at fault."""
    prompts = [[question.prompt for question in questions] for questions in todo]
    try:
        replies = _checked(predictor(image, prompts), prompts)
    except AskMaskError as error:
        if len(todo) == 1:
            yield todo[0], None, str(error)
            return
        for questions in todo:
            yield from _ask(predictor, image, [questions])
        return
    for questions, answers in zip(todo, replies, strict=True):
        yield questions, answers, ""


def _checked(replies: list[list[Reply]], prompts: list[list[str]]) -> list[list[Reply]]:
    if [len(part) for part in replies] != [len(part) for part in prompts]:
        raise DataError("the predictor must return one reply per prompt", got=[len(part) for part in replies])
    return replies


def _append(file: IO[str], row: Mapping[str, Any]) -> None:
    """Write one line in one call and hand it to the system, so that a kill leaves whole lines but the last."""
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


def _cut_torn_line(path: Path) -> None:
    """Drop a last line that a killed run left unfinished; its item is asked again."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)


def _fingerprint(pictures: Sequence[Pictured]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        for questions in picture.conversations:
            for question in questions:
                digest.update(json.dumps([question.id, question.prompt]).encode())
    return digest.hexdigest()


def _check_run(path: Path, facts: dict[str, str]) -> None:
    if not path.exists():
        partial = path.with_name(f"run.{os.getpid()}.partial")
        partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        try:
            os.link(partial, path)  # whole, and only if no other shard was first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            partial.replace(path)
        partial.unlink(missing_ok=True)
    before = json.loads(path.read_text(encoding="utf-8"))
    other = sorted(name for name in before.keys() | facts.keys() if before.get(name) != facts.get(name))
    if other:
        raise SettingError(
            f"{path.parent} holds another run",
            got=", ".join(f"{n}: {before.get(n)!r} there, {facts.get(n)!r} now" for n in other)[:400],
            do="Choose another --out.",
        )


@contextmanager
def _claim(out: Path, shard: int, shards: int) -> Iterator[None]:
    """Hold a shard while working on it, and keep a run of another number of shards out.

    The system drops the locks when a process ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is the user's to see to
        yield
        return
    shared = (out / f".shards-{shards}.lock").open("w")
    own = (out / f".shard-{shard}-of-{shards}.lock").open("w")
    try:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingError(f"another process is working on shard {shard} of {shards} in {out}") from error
        fcntl.flock(shared, fcntl.LOCK_SH)
        for path in out.glob(".shards-*.lock"):
            if path.name != f".shards-{shards}.lock":
                with path.open("w") as other:
                    try:
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError as error:
                        raise SettingError(
                            f"a run of another number of shards is at work in {out}",
                            got=f"{shards} here, {path.name[8:-5]} there",
                            do="Wait for it, or use the same number.",
                        ) from error
        yield
    finally:
        own.close()
        shared.close()
