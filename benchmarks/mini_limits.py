"""What limits mini: its eyes, or what its words choose?

    python benchmarks/mini_limits.py DENSE_FOLDER [--model mini] [--views 80] [--out results/mini/limits.json]

"True choice" paints the regions and parts that the truth names, out of the regions that mini's eyes found, without
the mask decoder; "said" paints what the words chose, whether or not the model says that anything is there. The
difference is the words' to gain, what the true choice lacks is the eyes'. "Seen" is how often the eyes are right about
the objects they found: what they are, their colour, what they are made of, and each fact that is certain. "Read" is how
often all that a prompt says is read right off its words alone: the kind of request, the names said, the names denied.
Kinds of request stand beside the concepts.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import defaultdict

import numpy as np
import torch

from askmask.evaluation.meter import Meter
from askmask.evaluation.protocols import UNGATED
from askmask.evaluation.scoring import Scored
from askmask.formats.dense import read_shard, shards
from askmask.loading import find_checkpoint
from askmask.model.checkpoint import load_checkpoint
from askmask.model.mini.language import paint
from askmask.model.mini.perception import part_names
from askmask.model.mini.reading import names_of
from askmask.runs.whole_files import write_json
from askmask.training.mini_scores import answer, painted_at, val_views
from askmask.training.prompts import asks_of, gate_target, select_target
from askmask.training.region_cache import owners

SURE = 20.0  # logit of a region that the truth names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--views", type=int, default=80)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default="results/mini/limits.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net, _ = load_checkpoint(find_checkpoint(options.model), device="cpu")
    found = limits(net, options.folder, options.views)
    found["read"] = read(net, options.folder, options.views)
    found["seen"] = seen(net, options.folder, options.views)
    found["machine"] = f"{platform.machine()}, torch {torch.__version__}"
    write_json(options.out, found)
    print(json.dumps(found, indent=1))


def limits(net, folder, count):
    """Return per concept the gIoU of true and of said choices over prompts with a target."""
    scores = defaultdict(lambda: defaultdict(list))
    names = part_names(net.config)
    for view, objects in zip(val_views(net, [folder], count), asked(folder), strict=False):
        instances = view.prefix.instances
        owner = owners(instances, objects, net.config.stuff)
        said, _ = answer(net, view, decode=False)
        for number, ask in enumerate(view.asks):
            if not ask.present:
                continue
            select = (2 * select_target(ask, owner) - 1) * SURE
            gate = gate_target(ask, names).clamp(min=1e-9).log()
            best = paint(select[None], gate[None], instances.masks[None], view.prefix.parts[None])
            best = painted_at(net, view, best, view.truth.shape[1:])[0]
            for name, mask in (("true choice", best.numpy()), ("said", said[number].numpy())):
                row = Meter().update(mask, view.truth[number], ignore=view.ignored[number])
                (iou,) = Scored(UNGATED, Meter()).ious([row])
                for key in (ask.concept, f"kind {ask.kind}", *(("parts",) if ask.parts else ())):
                    scores[key][name].append(float(iou))
    return {
        key: {name: round(float(np.mean(values)), 3) for name, values in rows.items()}
        | {"prompts": len(rows["said"])}
        for key, rows in sorted(scores.items())
    }


@torch.no_grad()
def read(net, folder, count):
    """Return how often the kind of each prompt is read right, and all names it says and denies, by its kind."""
    names, kinds, right = names_of(net.config), net.config.kinds, defaultdict(lambda: defaultdict(list))
    shard = read_shard(shards(folder)[0])
    for row in range(min(count, len(shard.rgb))):
        asks = asks_of(*shard.facts(row))
        tokens = net.language.words.tokens([ask.text for ask in asks])
        says = net.language.understand(tokens)
        for number, ask in enumerate(asks):
            for key in ("all", ask.kind):
                right[key]["kind"].append(kinds[int(says.kind[number].argmax())] == ask.kind)
                for what, logits in (("said", says.said), ("denied", says.denied)):
                    given = {name for name, logit in zip(names, logits[number], strict=True) if logit > 0}
                    right[key][what].append(given == getattr(ask, what) & set(names))
    return {
        key: {what: round(float(np.mean(values)), 3) for what, values in rows.items()}
        | {"prompts": len(rows["kind"])}
        for key, rows in sorted(right.items())
    }


@torch.no_grad()
def seen(net, folder, count):
    """Return how often each name and fact of the objects that were found is right, over the first views of a folder.

    By pixels alone, and by all of the evidence, which is what words choose by.
    """
    config, right = net.config, defaultdict(lambda: defaultdict(list))
    materials = [n for n, name in enumerate(config.attributes) if name.startswith("material=")]
    sizes = [len(config.categories), len(config.colours), len(config.attributes)]
    shard = read_shard(shards(folder)[0])
    for row in range(min(count, len(shard.rgb))):
        objects = {item["id"]: item for item in shard.facts(row)[0]["objects"]}
        features = net.segmenter.encode(net.segmenter.prepare(shard.rgb[row])[None])
        prefix = net.prompt_encoder.prefix(None, features)
        instances = prefix.instances
        owner = owners(instances, shard.objects[row], config.stuff)
        pixels = instances.evidence[:, sum(config.widths[:3]) :]
        for by, names in (("by pixels", pixels), ("by all evidence", prefix.seen.names[0])):
            for number in range(instances.things):
                if (item := objects.get(int(owner[number]))) is None:
                    continue
                category, colour, attributes = names[number, : sum(sizes)].split(sizes)
                true = {
                    "category": config.categories[1 + int(category[1:].argmax())] == item["category"],
                    "colour": config.colours[int(colour.argmax())] == item["colour"],
                    "material": config.attributes[materials[int(attributes[materials].argmax())]]
                    == f"material={item['material']}",
                }
                for at, name in enumerate(config.attributes):
                    if (truth := item["attributes"].get(name)) is not None:
                        true[name] = bool(attributes[at] > 0.5) == truth
                for name, value in true.items():
                    right[by][name].append(value)
    return {
        by: {name: round(float(np.mean(values)), 3) for name, values in facts.items()}
        for by, facts in right.items()
    }


def asked(folder):
    """Yield the objects [H, W] of every view that is asked something."""
    for path in shards(folder):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            if asks_of(*shard.facts(row)):
                yield shard.objects[row]


if __name__ == "__main__":
    main()
