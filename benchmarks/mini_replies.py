"""Score what a model says on dense truth of the world: the kind of reply, its claims, its words, and what it points at.

    python benchmarks/mini_replies.py DENSE_FOLDER [--model mini] [--views N] [--out results/mini/replies]

Single prompts are asked alone, dialogues in order with the model's own answers before. `kind`: whether something is
shown, nothing matches, or words alone answer. Claims are held against the facts of the scene (world/talks/claims.py);
those that the facts do not decide count for nothing. `phrase`: whether the thing under a mask fits the words that the
reply ties to it. gIoU beside that of the same network asked for masks alone says what the replies do to the masks.
Intervals: bootstrap over scenes, 95 %.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from mini_on_world import interval, ious, truth_of

import askmask
from askmask.conversation import named
from askmask.evaluation.text_scores import Reference, text_scores
from askmask.formats.dense import read_shard, shards
from askmask.history import translated
from askmask.runs.whole_files import write_json
from askmask.training.reply_targets import singles_of, to_say
from askmask.world.ground import ground_of
from askmask.world.prompts import to_round
from askmask.world.talks.claims import claims
from askmask.world.talks.replies import called

SHOWN, NOTHING, ALONE = "shown", "nothing", "words alone"


def kind_of(answer):
    """What kind of reply an answer is."""
    return ALONE if answer.asks else SHOWN if answer.found else NOTHING


def right_kind(prompt):
    """What kind of reply a prompt should get."""
    if prompt["answer"] is None:
        return ALONE
    return SHOWN if any(prompt["answer"].values()) else NOTHING


def fits(phrase, mask, objects, ground):
    """Whether the thing under most of a mask fits the words tied to it; None where they name no colour and noun."""
    shown = np.bincount(objects[mask], minlength=256)
    shown[[0, *range(200, 256)]] = 0
    thing = int(shown.argmax())
    names = {called(ground, n) for n in ground.things}
    singular = [name for name in names if name in phrase.lower()]
    if not singular:
        return None
    return bool(shown[thing]) and called(ground, thing) in singular


def row_of(prompt, answer, ground, shard, at, *, about=(), among=(), wanted=None):
    """All that is known of one reply."""
    objects, parts = shard.objects[at], shard.parts[at]
    alone = prompt["answer"] is None
    said = [] if not answer.text else claims(
        answer.text, ground, about=about, among=among, answer=None if alone else prompt["satisfying"]
    )  # fmt: skip
    row = {
        "kind": prompt.get("kind") or "",
        "right kind": right_kind(prompt),
        "kind said": kind_of(answer),
        "kind right": float(right_kind(prompt) == kind_of(answer)),
        "claims": Counter((claim.kind, claim.true) for claim in said if claim.true is not None),
        "reply": answer.text,
        "wanted": wanted,
        "prompt": prompt["prompt"],
        "garbled": float(any("could not be read" in notice for notice in answer.notices)),
        "phrases": [
            good
            for segment in answer.segments
            if segment.phrase
            and (good := fits(segment.phrase, segment.mask.to_array(), objects, ground)) is not None
        ],
        "segments": len(answer.segments),
        "tied": sum(segment.span is not None for segment in answer.segments),
    }
    if not alone:
        truth = truth_of(prompt, objects, parts)
        row |= {"present": not truth.no_target, "iou": ious(truth, [answer.mask.to_array()])[0]}
    return row


def singles(model, shard, at, scene, view, ground):
    """Yield a row for each single prompt."""
    prompts = view["prompts"]
    texts = [prompt["prompt"] for prompt in prompts]
    asked = {one.text: one for one in singles_of(scene, view)}
    session = model.open(shard.rgb[at])
    for prompt, answer, plain in zip(
        prompts, session.ask_many(texts), session.ask_many(texts, words=False), strict=True
    ):
        one = asked.get(prompt["prompt"])
        rng = np.random.default_rng([scene["seed"], len(prompt["prompt"])])
        said = None if one is None else to_say(one, ground, one.ids, one.part, rng)
        row = row_of(prompt, answer, ground, shard, at, wanted=None if said is None else said.text)
        row["iou silent"] = ious(
            truth_of(prompt, shard.objects[at], shard.parts[at]), [plain.mask.to_array()]
        )[0]
        yield row | {"set": "single", "same": float(answer.mask == plain.mask)}


def dialogue(model, shard, at, talk, ground):
    """Yield a row for each round of a dialogue, asked with the model's own answers before."""
    session = model.open(shard.rgb[at])
    rounds = named([to_round(prompt, shard.objects[at], shard.parts[at]) for prompt in talk])
    about, among = [], []
    for number, (prompt, round) in enumerate(zip(talk, rounds, strict=True)):
        meant = translated(round.prompt.refers_to, rounds[:number], session.rounds)
        answer = session.ask(prompt["prompt"], about=meant)
        row = row_of(prompt, answer, ground, shard, at, about=about, among=among, wanted=prompt.get("reply"))
        yield row | {"set": prompt.get("set", "dialogue"), "last": number == len(talk) - 1}
        about = list(prompt["satisfying"] if prompt["answer"] is not None else about) or about
        among = prompt["facts"].get("fits") or among


def rows_of(model, folder, limit):
    """Yield one dict per reply."""
    views = 0
    for path in shards(folder):
        shard = read_shard(path)
        for at in range(len(shard.rgb)):
            if views == limit:
                return
            views += 1
            scene, view = shard.facts(at)
            ground = ground_of(scene, view)
            rows = [*singles(model, shard, at, scene, view, ground)]
            for talk in view.get("dialogues", ()):
                rows += dialogue(model, shard, at, talk, ground)
            yield from (row | {"scene": scene["seed"]} for row in rows)


def report(rows):
    """Return the figures of some replies."""
    counts = Counter()
    for row in rows:
        counts.update(row["claims"])
    total = sum(counts.values())
    kinds = sorted({kind for kind, _ in counts})
    by_kind = {
        kind: {"claims": counts[kind, True] + counts[kind, False],
               "precision": counts[kind, True] / (counts[kind, True] + counts[kind, False])}
        for kind in kinds
    }  # fmt: skip
    texts = {str(k): row["reply"] for k, row in enumerate(rows) if row["wanted"]}
    wanted = [Reference(str(k), row["wanted"]) for k, row in enumerate(rows) if row["wanted"]]
    masks = [row for row in rows if row.get("present")]
    phrases = [good for row in rows for good in row["phrases"]]
    found = {
        "replies": len(rows),
        "kind right": {
            kind: interval([row for row in rows if row["right kind"] == kind], "kind right")
            for kind in (SHOWN, NOTHING, ALONE)
        },
        "kinds said": dict(Counter(f"{row['right kind']} -> {row['kind said']}" for row in rows)),
        "claims": total,
        "claim precision": sum(n for (_, true), n in counts.items() if true) / max(1, total),
        "claims by kind": by_kind,
        "words": text_scores(texts, wanted) if wanted else None,
        "phrase right": sum(phrases) / max(1, len(phrases)),
        "segments with a phrase": sum(row["tied"] for row in rows)
        / max(1, sum(row["segments"] for row in rows)),
        "garbled": interval(rows, "garbled"),
        "giou": interval(masks, "iou"),
    }
    plain = [row for row in masks if "iou silent" in row]
    if plain:
        found |= {"giou without replies": interval(plain, "iou silent"), "same mask": interval(plain, "same")}
    last = [row for row in rows if row.get("last") and row.get("present")]
    return found | ({"giou of the last round": interval(last, "iou")} if last else {})


def transcript(rows, count=24):
    """A few replies beside what should be said."""
    picked = rows[:: max(1, len(rows) // count)]
    return "\n".join(
        f"> {row['prompt']}\n  {row['reply'] or '(no words)'}   [{row['kind said']}]\n  ({row['wanted']})\n"
        for row in picked
    )


def main():
    """Score and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--views", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = askmask.load(given.model, device="cpu")
    begun = time.perf_counter()
    rows = list(rows_of(model, given.data, given.views))
    sets = defaultdict(list)
    for row in rows:
        sets[row["set"]].append(row)
    found = {
        "model": model.name,
        "data": given.data.name,
        "views": given.views,
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.perf_counter() - begun, 1),
        "sets": {name: report(some) for name, some in {"all": rows, **sets}.items()},
    }
    for name, values in found["sets"].items():
        print(f"\n{name}: {values['replies']} replies")
        for key, value in values.items():
            print(f"  {key}: {value}")
    if given.out:
        write_json(given.out.with_suffix(".json"), found)
        given.out.with_suffix(".txt").write_text(transcript(rows), encoding="utf-8")
    else:
        print(transcript(rows))


if __name__ == "__main__":
    main()
