"""Score a model on the world's conversations, round by round: with its own answers before, true ones, none, swapped.

    python benchmarks/mini_conversation.py DENSE_FOLDER [--model mini] [--views N] [--out results/mini/NAME]

    own      each round in a session that holds the model's own answers; what a round refers to is given (strictly
             sequential: no truth enters)
    words    the same, but what a round refers to is not given: the words must do
    gold     the true answers before (teacher-forced: an upper bound, no result)
    none     every prompt alone
    swapped  gold, but the one mask referred to shows another thing of which the same question has another answer
    shuffled gold, the rounds before in another order, references re-indexed

"Common": conversations of at least COMMON rounds, and their first COMMON rounds, so that every round has the same
population. Intervals: bootstrap over scenes, 95 %.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import askmask
from askmask.backend import Asked, Keep
from askmask.conversation import Example, Segment
from askmask.evaluation.bootstrap import mean_interval
from askmask.evaluation.meter import Meter, count
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.protocols import PROTOCOLS
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.formats.dense import answer_masks, read_shard, shards
from askmask.history import context
from askmask.imaging.mask import Mask, union_of
from askmask.runs.whole_files import write_json
from askmask.world.ground import Ground
from askmask.world.prompts import answer_of, queries, to_round
from askmask.world.record import surface_of
from askmask.world.talks.talk import Scope, parts_of

COMMON = 5
WAYS = ("own", "words", "gold", "none")
SILENT = ("it", "given", "newest", "spoken")  # ways to refer whose words do not name the thing
SAME = 0.9  # IoU of two answers that count as one
DRAWS = 1000


def iou(answer, masks, size, ignore=None):
    """IoU of an answer's union with the union of some masks, by the neutral scorer."""
    truth = Truth(id="", size=size, masks=tuple(masks), ignore=ignore)
    row = count(truth, Prediction("", (answer.mask,)))
    return Scored(PROTOCOLS["askmask"], Meter()).ious([row]).tolist()[0]


def in_session(session, example, *, given):
    """Ask a conversation's rounds in order, each in the light of the model's own answers."""
    talk, answers = session.fork(), []
    for number in range(len(example.rounds)):
        prompt = context(example, number, "own", talk.rounds).prompt
        answers.append(talk.ask(prompt if given else replace(prompt, refers_to=())))
    return answers


def told(model, session, rounds, prompt):
    """Answer one prompt after given rounds."""
    state = model.backend.begin(model.view_of(session))
    for round in rounds:
        state = model.backend.extend(state, round)
    return model.answers([Asked(state, prompt)], Keep())[0]


def with_gold(model, session, example):
    """Ask every round after the true answers to those before."""
    state, asked = model.backend.begin(model.view_of(session)), []
    for round in example.rounds:
        asked.append(Asked(state, round.prompt))
        state = model.backend.extend(state, round)
    return model.answers(asked, Keep())


def shuffled(model, session, example, number, random):
    """Ask a round after the true rounds before it, in another order."""
    before = [example.rounds[int(at)] for at in random.permutation(number)]
    return told(model, session, before, example.rounds[number].prompt)


class Swaps:
    """For a question about one thing: another thing of the picture of which it has another answer."""

    def __init__(self, shard, row):
        scene, view = shard.facts(row)
        self.objects, self.parts = shard.objects[row], shard.parts[row]
        self.surface = surface_of(self.objects, shard.depth[row], view["camera"], scene["objects"])
        self.ground = Ground(scene["objects"], dict(view), view["size"])
        self.scope = Scope(self.ground, queries(self.ground, np.random.default_rng(0)))

    def of(self, prompt, random):
        """Return (the other thing's mask, the masks that then answer), None if there is no such thing."""
        facts, found = prompt["facts"], []
        for n in self.ground.seen:
            if n == facts.get("of"):
                continue
            if "part" in facts:
                answers = [
                    {"parts": [p["id"]]} for p in parts_of(self.ground, n) if p["name"] == facts["part"]
                ]
            else:
                asked = self.scope.asked.get(n, {}).get(facts.get("relation", prompt["kind"]), ())
                answers = [answer_of(query, self.surface) for query in asked if not query.empty]
            found += [(n, answer) for answer in answers[:1] if answer != prompt["answer"]]
        if not found:
            return None
        n, answer = found[int(random.integers(len(found)))]
        masks = [Mask.from_array(mask) for mask in answer_masks(answer, self.objects, self.parts)]
        return Mask.from_array(self.objects == n), masks


def swapped(model, session, example, number, other):
    """Ask a round after the true rounds before it, the one mask it refers to replaced by another."""
    (name,) = example.rounds[number].prompt.refers_to
    before = [
        replace(round, segments=tuple(Segment(mask=other, id=s.id) for s in round.segments))
        if name == round.id or (round.segments and name == round.segments[0].id)
        else round
        for round in example.rounds[:number]
    ]
    return told(model, session, before, example.rounds[number].prompt)


def rows_of(model, folder, limit):
    """Yield one dict per round."""
    views = 0
    for path in shards(folder):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            scene, view = shard.facts(row)
            dialogues = [one for one in view["dialogues"] if all(r["answer"] is not None for r in one)]
            if not dialogues:
                continue
            if views == limit:
                return
            views += 1
            swaps = Swaps(shard, row)
            session = model.open(shard.rgb[row])
            for at, dialogue in enumerate(dialogues):
                rounds = tuple(to_round(prompt, shard.objects[row], shard.parts[row]) for prompt in dialogue)
                name = f"{scene['seed']}-{int(shard.view[row])}-{at}"
                example = Example(id=name, image="", rounds=rounds)
                random = np.random.default_rng([scene["seed"], int(shard.view[row]), at])
                yield from talk_rows(model, session, example, dialogue, swaps, random, scene["seed"])


def talk_rows(model, session, example, dialogue, swaps, random, seed):
    """Yield one dict per round of a conversation."""
    size = session.picture.size
    answers = {
        "own": in_session(session, example, given=True),
        "words": in_session(session, example, given=False),
        "gold": with_gold(model, session, example),
        "none": session.ask_many([replace(r.prompt, refers_to=()) for r in example.rounds]),
    }
    for number, (round, prompt) in enumerate(zip(example.rounds, dialogue, strict=True)):
        reference = prompt.get("reference") or {}
        found = {
            "scene": seed,
            "round": number + 1,
            "rounds": len(dialogue),
            "kind": prompt["kind"],
            "how": reference.get("how", ""),
            "hard": bool(reference.get("hard")),
            "refers": bool(round.prompt.refers_to),
            "present": bool(union_of(round.masks, size)),
        }
        for way in WAYS:
            answer = answers[way][number]
            found[way] = iou(answer, round.masks, size, round.ignore)
            found[f"{way}_found"] = answer.found
        if round.prompt.refers_to:
            found["resolved"] = resolved(answers["gold"][number], example, number)
        if number > 1:
            other = shuffled(model, session, example, number, random)
            found["kept"] = float(iou(other, (answers["gold"][number].mask,), size) >= SAME)
        single = [s for name in round.prompt.refers_to for s in segments_of(example, name)]
        if reference.get("how") in SILENT and len(single) == 1 and (other := swaps.of(prompt, random)):
            answer = swapped(model, session, example, number, other[0])
            found["swapped"] = iou(answer, other[1], size)
            found["swapped_more"] = float(found["swapped"] > iou(answer, round.masks, size))
        yield found


def segments_of(example, name):
    """The segments that a reference means."""
    rounds = example.rounds
    return [s for round in rounds for s in round.segments or () if name in (s.id, round.id)]


def resolved(answer, example, number):
    """Whether exactly what a round refers to was taken to be spoken of."""
    meant = {s.id for name in example.rounds[number].prompt.refers_to for s in segments_of(example, name)}
    return float({one.id for one in answer.references if one.score >= 0.5} == meant)


def interval(rows, key, draws=DRAWS):
    """Mean and 95 % interval over scenes."""
    rows = [row for row in rows if key in row]
    if not rows:
        return None
    mean, low, high = mean_interval(
        [float(row[key]) for row in rows], [str(row["scene"]) for row in rows], resamples=draws
    )
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "prompts": len(rows)}


def report(rows):
    target = [row for row in rows if row["present"]]
    follows = [row for row in target if row["refers"]]
    common = [row for row in target if row["rounds"] >= COMMON and row["round"] <= COMMON]
    groups = {"openings": [row for row in target if not row["refers"]], "follow-ups": follows}
    groups |= {f"round {n}, common": [r for r in common if r["round"] == n] for n in range(1, COMMON + 1)}
    groups |= {f"rounds 2-{COMMON}, common": [row for row in common if row["round"] > 1]}
    groups |= {f"round {n}, all": [r for r in target if r["round"] == n] for n in range(1, 11)}
    groups |= {"hard": [r for r in follows if r["hard"]], "not hard": [r for r in follows if not r["hard"]]}
    by = {key: defaultdict(list) for key in ("how", "kind")}
    for row in follows:
        for key, found in by.items():
            found[row[key]].append(row)
    for row in rows:
        row["none_right"] = float(not row["own_found"])
    return {
        "giou": {name: table(part) for name, part in groups.items() if part},
        "how": {name: table(part, 200) for name, part in sorted(by["how"].items())},
        "kinds": {name: table(part, 200) for name, part in sorted(by["kind"].items())},
        "nothing matches, known (own)": interval([row for row in rows if not row["present"]], "none_right"),
        "references as meant (gold)": interval([row for row in rows if row["refers"]], "resolved"),
        "unchanged by order (gold)": interval([row for row in rows if row["how"] != "index"], "kept"),
        "swapped answer": interval(rows, "swapped"),
        "nearer to the swapped answer": interval(rows, "swapped_more"),
    }


def table(rows, draws=DRAWS):
    return {way: interval(rows, way, draws) for way in WAYS}


def markdown(found):
    def said(value):
        return "-" if value is None else f"{value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f})"

    lines = [f"# {found['model']} on {found['data']}, conversations", "", found["note"], ""]
    lines += ["`own` is the result; `gold` is teacher-forced; `none` asks every prompt alone.", ""]
    for part, title in (("giou", "rounds with a target"), ("how", "referred to by"), ("kinds", "kind")):
        lines += [f"| {title} | n | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
        for name, ways in found[part].items():
            cells = " | ".join(said(ways[way]) for way in WAYS)
            lines.append(f"| {name} | {ways['own']['prompts']} | {cells} |")
        lines.append("")
    lines += ["| probe | n | share or gIoU |", "|---|---|---|"]
    for name, value in found.items():
        if name in ("model", "data", "note", "giou", "how", "kinds") or value is None:
            continue
        lines.append(f"| {name} | {value['prompts']} | {said(value)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--views", type=int, default=-1)
    parser.add_argument("--out", default="results/mini/conversation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    model = askmask.load(options.model, device="cpu")
    rows = list(rows_of(model, options.folder, options.views))
    found = report(rows)
    scenes = len({row["scene"] for row in rows})
    note = (
        f"{len(rows)} rounds over {scenes} scenes, protocol {model.backend.protocol_name}, "
        f"{platform.machine()}, 1 thread, {time.time() - began:.0f} s, torch {torch.__version__}."
    )
    found = {"model": model.name, "data": Path(options.folder).name, "note": note} | found
    out = Path(options.out)
    write_json(out.with_suffix(".json"), found)
    out.with_suffix(".md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
