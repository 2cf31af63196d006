"""Whatever holds masks -> Examples: data sets, folders of answers, saved sessions, runs of the data engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from askmask import batch
from askmask.answer import RESULT, SAVED_BY, Answer
from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats import open_dataset
from askmask.formats.catalogue import LOADERS
from askmask.formats.reading import found_in, item, naming, size_of
from askmask.notes import Notes
from askmask.runs.json_text import read_object, read_rows
from askmask.runs.manifest import made_by
from askmask.runs.whole_files import settle

RUN = "run.sqlite"  # the store of an engine run
CONVERSATION = "conversation.json"  # what `askmask chat` keeps
UNTRAINED = "scores left out: no training stands behind them"


def open_source(source: str, *, notes: Notes, at: str | Path | None = None) -> Iterator[Example]:
    """Yield the Examples of a data set, of what `askmask segment`, `batch`, `chat` or `engine` wrote, of a session.

    A data set is what `open_dataset` reads. `at` is the folder where pictures are looked for that do not lie where
    the source says. What is left out is counted in `notes`. Raises DataError or SettingError.
    """
    path = Path(source)
    if source.partition(":")[0] in LOADERS and not path.exists():
        return open_dataset(source, notes=notes)
    if path.is_dir():
        settle(path)
        maker = made_by(path)
        if maker == SAVED_BY:
            return _answers(path / RESULT, at, notes)
        if maker == batch.MADE_BY:
            return _batch(path, at, notes)
        if (path / CONVERSATION).is_file():
            return iter([_session(read_object(path / CONVERSATION), path / CONVERSATION, at, notes)])
        if (path / RUN).is_file():
            return _run(path, notes)
    elif path.is_file() and path.suffix == ".json":
        data = read_object(path)
        if "rounds" in data and "picture" in data:
            return iter([_session(data, path, at, notes)])
        if "answers" in data:
            return _answers(path, at, notes)
    return open_dataset(source, notes=notes)


def _answers(path: Path, at: str | Path | None, notes: Notes) -> Iterator[Example]:
    """Read result.json: answers to prompts about one picture that know nothing of each other."""
    data = read_object(path)
    with naming(str(path)):
        common = {key: data[key] for key in ("size", "model", "protocol")}
        answers = [Answer.from_dict(common | answer) for answer in data["answers"]]
        rounds = tuple(_round_of(answer, notes, str(path)) for answer in answers)
        image = _picture(data["image"] or "picture", path.parent, at)
        example = Example(id=path.parent.name or path.stem, image=image, rounds=rounds, independent=True,
                          size=answers[0].size, source=answers[0].model)  # fmt: skip
        _check_sizes(example)
    yield example


def _check_sizes(example: Example) -> None:
    """Raise DataError where a mask is not of the picture's size, or that is none."""
    size = size_of(*(example.size or ()))
    for round in example.rounds:
        masks = (*(round.masks or ()), *round.prompt.masks, *((round.ignore,) if round.ignore else ()))
        if other := {mask.size for mask in masks} - {size}:
            raise DataError("a mask is of another size than its picture", got=f"{other.pop()}, not {size}")


def _batch(folder: Path, at: str | Path | None, notes: Notes) -> Iterator[Example]:
    """Read results.jsonl, one Example per answer; what failed is counted."""
    for number, row in read_rows(folder / batch.RESULTS):
        where = f"{folder / batch.RESULTS}, line {number}"
        with item(where, notes):
            answer = Answer.from_dict(row)
            image = _picture(row["image"], folder, at)
            example = Example(id=str(row["id"]), image=image, rounds=(_round_of(answer, notes, where),),
                              independent=True, size=answer.size, source=answer.model)  # fmt: skip
            _check_sizes(example)
            yield example
    failed = folder / batch.FAILED
    for number, row in read_rows(failed) if failed.is_file() else ():
        notes.add("prompts left out: they failed", f"{failed}, line {number}: {str(row.get('reason'))[:80]}")


def _session(data: Mapping[str, Any], path: Path, at: str | Path | None, notes: Notes) -> Example:
    """Read what `Session.to_dict` wrote: a conversation."""
    with naming(str(path)):
        picture, model = data["picture"], data.get("model") or {}
        rounds = (Round.from_dict(round) for round in data["rounds"])
        example = Example(
            id=path.stem,
            image=_picture(picture["name"], path.parent, at),
            rounds=tuple(
                _without_untrained(round, bool(model.get("score_trained")), notes, path) for round in rounds
            ),
            size=(int(picture["size"][0]), int(picture["size"][1])),
            source=str(model.get("name") or ""),
        )
        _check_sizes(example)
        return example


def _run(folder: Path, notes: Notes) -> Iterator[Example]:
    """Read the accepted pairs of an engine run, over its pictures where they lie."""
    from askmask.engine.export import accepted_examples
    from askmask.engine.store import RunStore

    left_out: list[dict[str, Any]] = []
    with RunStore(folder, read_only=True) as store:
        yield from accepted_examples(store, folder.name, left_out)
    for row in left_out:
        kind = {"picture": "pictures", "mask": "masks"}.get(row["grain"], "prompts")
        notes.add(f"{kind} left out: the run did not accept them", f"{row['file']}: {row['reason']}"[:160])


def _round_of(answer: Answer, notes: Notes, where: str) -> Round:
    """Return an answer as a round that knows nothing of others."""
    round = _without_untrained(answer.round, answer.score_trained, notes, where)
    segments = round.segments and tuple(replace(segment, id="", parents=()) for segment in round.segments)
    if refers := round.prompt.refers_to:
        notes.add("references left out: the rounds they mean are not in the file", where, len(refers))
    prompt = replace(round.prompt, refers_to=())
    return replace(round, id="", prompt=prompt, references=(), segments=segments)


def _without_untrained(round: Round, trained: bool, notes: Notes, where: object) -> Round:
    """Return a round without what only looks like scores: of words in training there are some, of marks none."""
    if (trained and not round.prompt.marks) or not round.segments:
        return round
    segments = []
    for segment in round.segments:
        if segment.source == "predicted" and segment.score is not None:
            notes.add(UNTRAINED, where)
            segment = replace(segment, score=None)
        segments.append(segment)
    return replace(round, segments=tuple(segments))


def _picture(name: Any, folder: Path, at: str | Path | None) -> str:
    """Return where a picture lies: in `at`, as it is called from here, or beside the file that names it."""
    if not isinstance(name, str) or not name:
        raise DataError("a path is needed", got=repr(name)[:80])
    places = [Path(at), Path(at) / Path(name).parent.name] if at else []
    found = found_in([*places, Path(), folder, folder.parent], Path(name).name if at else name)
    return str(found) if found.is_file() else name
