"""Run a model over a data set: append-only, resumable, in shards without doubles or losses.

The model is handed in as a `Predictor`; this file knows no network. A run is a folder:

    askmask-run.json                      what is asked of what; a resume that differs is refused
    predictions-00000-of-00002.jsonl      one line per answered item, see predictions.py
    replies-00000-of-00002.jsonl          the same for rounds without true mask, for text scores
    failed-00000-of-00002.jsonl           items that could not be answered, tried again by the next run
    pictures-00000-of-00002.jsonl         hashes of the pictures that were asked about
    stats-00000-of-00002.jsonl            one line per run: items a second, memory, what a called model cost
    calls-00000-of-00002.sqlite           of a model behind a server: every reply, so that none is asked for twice

Shards divide the pictures by their order in the data set, so every prompt on a picture stays with it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from askmask.conversation import Example, Round
from askmask.errors import AskMaskError, DataError, SettingError, Stopped
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.sequential import Asker, Reference, alone, in_order, mode_of
from askmask.evaluation.text_scores import words_of
from askmask.evaluation.truth import item_id
from askmask.history import context, without_truth
from askmask.imaging.mask import Mask
from askmask.runs.append_log import whole_rows
from askmask.runs.content_hash import sha256
from askmask.runs.manifest import output_folder


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
        """How sure the model is; a reply may say with `score_trained` that no training stands behind it."""

    @property
    def text(self) -> str:
        """Words, empty if there are none."""


# (path of the picture, conversations over it without their truth) -> replies to the rounds of each
Predictor = Callable[[str, Sequence[Example]], list[list[Reply]]]
# A path for its file -> the ledger of calls, None where no model is called.
KeepReplies = Callable[[Callable[[], Path]], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked about a picture in order, mostly without truth; names of items, and whether true masks await."""

    example: Example
    items: tuple[tuple[str, bool], ...]  # id of each round's item, and whether it is labelled
    size: tuple[int, int] | None  # of the true masks: answers of another could not be scored

    @property
    def ids(self) -> tuple[str, ...]:
        """The items' ids."""
        return tuple(name for name, _ in self.items)


@dataclass(frozen=True, slots=True)
class Pictured:
    """One picture and the conversations over it."""

    image: str
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a shard is; `failed` counts items of this run that could not be answered."""

    done: int
    total: int
    failed: int = 0


def plan(examples: Iterable[Example], *, reference: str = "none") -> list[Pictured]:
    """Group a data set's prompts by picture, in order of first appearance; masks are kept for "gt" alone.

    With reference "none" every prompt that has a true mask or true words stands alone, else conversations are asked
    in order; see sequential.py.
    """
    mode_of(reference)
    pictures: dict[str, list[Conversation]] = {}
    seen: set[str] = set()
    for example in examples:
        size = example.size or next((m.size for round in example.rounds for m in round.masks or ()), None)
        items = [(item_id(example, k), round.masks is not None) for k, round in enumerate(example.rounds)]
        for name, _ in items:
            if name in seen:
                raise DataError(f"id {name!r} occurs twice in the data set")
            seen.add(name)
        if reference != "none" and not example.independent:
            if items:
                shown = example if reference == "gt" else without_truth(example)
                pictures.setdefault(example.image, []).append(Conversation(shown, tuple(items), size))
            continue
        for k, item in enumerate(items):
            if item[1] or words_of(example.rounds[k]):
                alone = Round(prompt=context(example, k, "none").prompt)
                one = Example(id=example.id, image=example.image, rounds=(alone,))
                pictures.setdefault(example.image, []).append(Conversation(one, (item,), size))
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
    keep_replies: KeepReplies | None = None,
) -> Iterator[Progress]:
    """Answer one shard's items that no shard in `out` has answered yet; yield after every picture.

    `limit` stops after the first so many pictures of the set; a later run without it goes on. `keep_replies` is given
    a path for the replies of a model that is called (see `askmask.backend.replies_kept`).

    `facts` say what run this is (model, its weights, data set, reference); they go into the folder's manifest and
    are held against it. Raises SettingError if `out` belongs to another run, a picture is no longer the one that
    was asked about, or the shard is being worked on by another process; Stopped where no further item would fare
    better: those left are asked by the next run.
    """
    if not 0 <= shard < shards:
        raise SettingError(f"shard {shard} of {shards} does not exist", do="Count from 0.")
    out = Path(out)
    tag = f"{shard:05d}-of-{shards:05d}"
    facts = {**facts, "questions": _fingerprint(pictures)}
    with output_folder(out, MADE_BY, facts, shard=shard, shards=shards) as folder, ExitStack() as opened:
        names = {kind: f"{kind}-{tag}.jsonl" for kind in KINDS}
        folder.paths([*names.values(), f"stats-{tag}.jsonl"])
        folder.remove(names["failed"])
        files = {kind: opened.enter_context(folder.log(name)) for kind, name in names.items()}
        hashes = _known_pictures(out)
        answered = answered_ids(out)
        mine = pictures[:limit][shard::shards]
        for picture in mine:
            _check_picture(picture.image, hashes, out)
        total = sum(len(c.items) for picture in mine for c in picture.conversations)
        done = sum(name in answered for picture in mine for c in picture.conversations for name in c.ids)
        failed, before, start = 0, done, time.perf_counter()
        used: Counter[str] = Counter()
        ledger = None
        if keep_replies is not None:
            ledger = opened.enter_context(keep_replies(lambda: folder.path(f"calls-{tag}.sqlite")))
        spent = (0.0, 0) if ledger is None else ledger.spent()
        yield Progress(done, total)
        try:
            for picture in mine:
                todo = [c for c in picture.conversations if any(name not in answered for name in c.ids)]
                if not todo:
                    continue
                digest = _picture_hash(picture.image)
                for talk, replies, reason in _ask(predictor, picture.image, todo):
                    for index, (name, labelled) in enumerate(talk.items):
                        if name in answered:
                            continue
                        if replies is None:
                            failed += 1
                            prompt = talk.example.rounds[index].text
                            row = {"id": name, "image": picture.image, "prompt": prompt, "reason": reason}
                            files["failed"].append(row)
                        else:
                            done += 1
                            used.update(getattr(replies[index], "usage", {}))
                            if digest is not None and hashes.setdefault(picture.image, "") != digest:
                                hashes[picture.image] = digest
                                files["pictures"].append({"image": picture.image, "sha256": digest})
                            kind = "predictions" if labelled else "replies"
                            files[kind].append(prediction_of(name, replies[index]).to_dict())
                yield Progress(done, total, failed)
        finally:
            seconds = time.perf_counter() - start
            # What this run paid for, answers that came to nothing among it.
            paid = (
                None
                if ledger is None
                else [now - then for now, then in zip(ledger.spent(), spent, strict=True)]
            )
            opened.close()
            folder.remove(*(name for name in names.values() if not (out / name).stat().st_size))
            if done > before or (paid and paid[1]):
                stats = statistics(done - before, seconds) | ({"used": dict(used)} if used else {})
                if paid is not None:
                    stats["paid"] = {"usd": round(paid[0], 6), "calls": paid[1]}
                with folder.log(f"stats-{tag}.jsonl") as log:
                    log.append(stats)


KINDS = ("predictions", "replies", "failed", "pictures")
MADE_BY = "askmask eval"


def prediction_of(name: str, reply: Reply) -> Prediction:
    """Turn a reply into the prediction that is stored: one that found nothing says so, one in words alone does not."""
    alone = getattr(getattr(reply, "round", None), "segments", ()) is None
    return Prediction(
        id=name,
        masks=tuple(reply.masks) if reply.found else (),
        no_target=None if alone else not reply.found,
        # What no training stands behind is no score: it would be drawn as confidence and ranked by.
        score=float(reply.score)
        if reply.score is not None and getattr(reply, "score_trained", True)
        else None,
        text=reply.text or None,
    )


def predictor_of(model: Any, *, reference: Reference = "none") -> Predictor:
    """Make a Predictor of `askmask.load(name)`: each picture is encoded once for all its prompts.

    With another reference than "none" each conversation is asked round by round; see sequential.py.
    """

    def ask(image: str, conversations: Sequence[Example]) -> list[list[Reply]]:
        asker = Asker(model, image)
        if reference == "none":
            asked = [r.prompt for one in conversations for r in one.rounds]
            replies = iter(asker.session.ask_many([alone(prompt) for prompt in asked]))
            return [[next(replies) for _ in one.rounds] for one in conversations]
        return [[turn.answer for turn in in_order(asker, one, reference)] for one in conversations]

    return ask


def answered_ids(out: Path) -> set[str]:
    """Return the ids of all whole lines of all shards, whatever their number was."""
    found: set[str] = set()
    for kind in ("predictions", "replies"):
        for path in sorted(out.glob(f"{kind}-*.jsonl")):
            found |= {str(row.get("id")) for row in whole_rows(path)}
    return found


def failures(out: Path) -> list[dict[str, Any]]:
    """Return the rows of all failed-*.jsonl whose item no shard has answered since."""
    answered = answered_ids(out)
    rows: list[dict[str, Any]] = []
    for path in sorted(out.glob("failed-*.jsonl")):
        rows += whole_rows(path)
    return [row for row in rows if row.get("id") not in answered]


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
    predictor: Predictor, image: str, todo: Sequence[Conversation]
) -> Iterator[tuple[Conversation, list[Reply] | None, str]]:
    """Ask all conversations over a picture together; if that fails, one by one, to find which is at fault."""
    try:
        replies = predictor(image, [talk.example for talk in todo])
        if [len(part) for part in replies] != [len(talk.items) for talk in todo]:
            raise DataError(
                "the predictor must return one reply per prompt", got=[len(part) for part in replies]
            )
    except Exception as error:  # whatever is wrong with one conversation, the others are asked
        if len(todo) == 1:
            if isinstance(error, Stopped):
                raise
            reason = (
                str(error)
                if isinstance(error, AskMaskError)
                else f"{type(error).__name__}: {str(error)[:300]}"
            )
            yield todo[0], None, reason
            return
        for talk in todo:
            yield from _ask(predictor, image, [talk])
        return
    for talk, answers in zip(todo, replies, strict=True):
        other = {m.size for reply in answers for m in reply.masks if talk.size} - {talk.size}
        if other:  # one such answer, found when all are scored, would cost the scores of all
            yield talk, None, f"the picture and its true masks differ in size; got {other.pop()}, {talk.size}"
        else:
            yield talk, answers, ""


def _fingerprint(pictures: Sequence[Pictured]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        for talk in picture.conversations:
            for name, round in zip(talk.ids, talk.example.rounds, strict=True):
                digest.update(json.dumps([name, round.prompt.to_json()]).encode())
    return digest.hexdigest()


def _picture_hash(image: str) -> str | None:
    try:
        return sha256(image) if Path(image).is_file() else None
    except OSError:
        return None


def _known_pictures(out: Path) -> dict[str, str]:
    """Return image -> hash of every picture that some shard has asked about."""
    rows = (row for path in sorted(out.glob("pictures-*.jsonl")) for row in whole_rows(path))
    return {str(row.get("image")): str(row.get("sha256")) for row in rows}


def _check_picture(image: str, known: Mapping[str, str], out: Path) -> None:
    now = _picture_hash(image) if image in known else None
    if now is not None and now != known[image]:  # a picture that is gone contradicts nothing
        raise SettingError(
            f"{out} holds answers about another picture under this name",
            got=image,
            do="Choose another --out.",
        )
