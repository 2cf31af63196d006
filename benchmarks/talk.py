"""Conversations on tiny networks: what they learn by heart, and what a round costs as the talk grows.

    python benchmarks/talk.py learn mrseg [--work FOLDER] [--out results/talk_mrseg.json]
    python benchmarks/talk.py learn prist [--work FOLDER] [--out results/talk_prist.json]
    python benchmarks/talk.py learn prist --net miras [--work FOLDER] [--out results/talk_prist_miras.json]
    python benchmarks/talk.py costs [--work FOLDER] [--out results/talk_costs.json]
    python benchmarks/talk.py rounds [--work FOLDER] [--out results/talk_rounds.json]

`learn` trains through `askmask train conversation` on eight made dialogues in the files of MRSeg or PRIST, exports the
run, and asks all rounds in order through Session with the network's own answers before. The network is SAM2 with
Qwen2.5-VL or, with `--net miras`, with MIRAS's front; that is trained by the recipe `miras_two`. `rounds` goes on
talking to the network that `learn mrseg` left in --work. `costs` trains MIRAS's on eight dialogues about four wide
pictures, as it is and with each of two mistakes of its published code: the picture cropped to its middle, and the
state of [SEG] read among the picture's tokens. Seconds are of one thread. No released weights take part.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
STEPS = {"mrseg": 400, "prist": 400, "prist miras": 240, "borders miras": 200}
# What is measured by `costs`: what makes the network, beside what `learn --net miras` makes it of.
MISTAKES: dict[str, dict[str, str]] = {
    "as it is": {},
    "crop": {"framing": "crop"},
    "index": {"read": "picture"},
}
ROUNDS, REPEATS = 8, 5


def costs(work: Path) -> dict:
    rows = {}
    for name, how in MISTAKES.items():
        rows[name] = learn("borders", work / name.replace(" ", "-"), "miras", **how)
    return {"variants": rows}


def learn(kind: str, work: Path, net: str, **how: str) -> dict:
    import askmask
    from askmask.model.miras.new import new_miras
    from askmask.model.talk.config import TalkConfig
    from askmask.model.talk.grow import grow
    from askmask.model.tiny import make_tiny
    from askmask.training.export import export_segmentation
    from askmask.training.recipes import recipe_for
    from askmask.training.run import start
    from askmask.training.settings import override
    from tests import miras_bases
    from tests.training import talk_sets

    data = getattr(talk_sets, f"write_{kind}")(work / f"{kind}-data")
    model = work / ("talk" if net == "qwen" else net)
    name = kind if net == "qwen" else f"{kind} {net}"
    if not model.exists() and net == "qwen":
        grow(make_tiny(work / "base", image_size=256), model)
    elif not model.exists():
        side = 128 if kind == "borders" else 256  # of the mask decoder; borders are coarse
        bases = miras_bases.write_bases(work / "bases", image_size=side)
        talk = replace(TalkConfig.miras(), **({"read": how["read"]} if "read" in how else {}))
        framing = how.get("framing", "stretch")
        new_miras(**bases, out=model, side=miras_bases.SIDE, talk=talk, framing=framing)
    run = work / name.replace(" ", "-")
    source = f"{'prist' if kind == 'borders' else kind}:{data}@train"
    settings = [f"data={source}", f"val={source}", f"model={model}"]
    settings += [f"run={run}", f"steps={STEPS[name]}", "batch=8", "accumulate=1", "lr=2e-3", "min_lr=1e-4"]
    settings += ["weight_decay=0", "language=full", "evaluate_every=1000", "log_every=20", "save_every=40"]
    settings += [f"cache={work / 'features'}", "threads=1", *(["front=full"] if net == "miras" else [])]
    recipe = "miras_two" if net == "miras" else "conversation"
    began, spent = time.time(), time.process_time()
    for told in start(override(recipe_for(recipe, settings), settings), print):
        if told.step % 20 == 0:
            print(told.step, {name: round(value, 3) for name, value in told.figures.items()}, flush=True)
    seconds = {"wall_s": time.time() - began, "processor_s": time.process_time() - spent}
    folder = export_segmentation(run, work / f"{run.name}-model")
    model = askmask.load(folder, device="cpu")
    ious: dict[int, list[float]] = {}
    replies = []
    for _, k, iou, exact in answered(model, source):
        if iou is not None:
            ious.setdefault(k + 1, []).append(iou)
        replies.append(exact)
    by_round = {
        k: {"mean": statistics.mean(v), "least": min(v), "dialogues": len(v)} for k, v in ious.items()
    }
    return {
        "net": net,
        "steps": STEPS[name],
        **seconds,
        "iou_by_round": by_round,
        "replies_exact": statistics.mean(replies),
    }


def answered(model, source: str):
    """Ask a source's rounds in order, own answers before; yield (its id, round, IoU if masks answer, reply exact)."""
    from askmask.evaluation.sequential import Asker, in_order
    from askmask.formats.catalogue import open_dataset
    from askmask.imaging.mask import union_of
    from askmask.training.dialogues import placed

    for example in open_dataset(source):
        for k, turn in enumerate(in_order(Asker(model, example.image), example, "pred")):
            true, size, iou = example.rounds[k], turn.answer.size, None
            if true.segments is not None:
                mine = union_of([s.mask for s in turn.answer.segments], size)
                iou = mine.iou(union_of(true.masks, size))
            yield example.id, k, iou, (turn.answer.round.reply or "") == placed(true)[0]


def rounds(work: Path) -> dict:
    import askmask

    model = askmask.load(work / "mrseg-model", device="cpu")
    spent: dict[int, list[float]] = {}
    anew: dict[int, list[float]] = {}
    length: dict[int, list[int]] = {}
    pictures = sorted((work / "mrseg-data" / "images_folder").glob("*.png"))[:REPEATS]
    for picture in pictures:
        session = model.open(picture)
        model.view_of(session)
        for k in range(1, ROUNDS + 1):
            about = [next(reversed(session.segments))] if session.segments else ()
            saved = session.to_dict()
            began = time.perf_counter()
            answer = session.ask("what is beside it" if k > 1 else "the red one", about=about)
            spent.setdefault(k, []).append(time.perf_counter() - began)
            length.setdefault(k, []).append(len(answer.round.reply or ""))
            fresh = askmask.Session.from_dict(saved, model, picture)
            model.view_of(fresh)
            began = time.perf_counter()
            again = fresh.ask("what is beside it" if k > 1 else "the red one", about=about)
            anew.setdefault(k, []).append(time.perf_counter() - began)
            assert again.mask == answer.mask and again.round.reply == answer.round.reply
    rows = {
        k: {
            "cached_s": statistics.median(spent[k]),
            "from_the_start_s": statistics.median(anew[k]),
            "reply_letters": statistics.mean(length[k]),
        }
        for k in spent
    }
    ratio = rows[ROUNDS]["cached_s"] / rows[2]["cached_s"]
    return {"rounds": rows, "round_8_over_round_2": ratio, "answers": "equal, cached or from the start"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("learn", "rounds", "costs"))
    parser.add_argument("kind", choices=("mrseg", "prist"), nargs="?", default="mrseg")
    parser.add_argument("--net", choices=("qwen", "miras"), default="qwen")
    parser.add_argument("--work", type=Path, default=Path("talk-benchmark"))
    parser.add_argument("--out", type=Path, help="default: a file in --work")
    given = parser.parse_args()
    if given.net == "miras" and (given.what, given.kind) != ("learn", "prist"):
        parser.error("MIRAS remembers words alone: it learns prist")
    torch.set_num_threads(1)
    if given.what == "learn":
        found = learn(given.kind, given.work, given.net)
        name = given.kind + ("_miras" if given.net == "miras" else "")
    else:
        found, name = (rounds if given.what == "rounds" else costs)(given.work), given.what
    out = given.out or given.work / f"talk_{name}.json"
    more = (
        f" {given.kind}" + (" --net miras" if given.net == "miras" else "") if given.what == "learn" else ""
    )
    command = f"python benchmarks/talk.py {given.what}{more}"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"command": command, **found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
