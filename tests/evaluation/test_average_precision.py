"""AP of scored masks equals COCO's own evaluation on random pictures, with crowds, ties and duplicates."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from askmask.evaluation.average_precision import average_precision, detections_of
from askmask.evaluation.meter import Meter, count
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.protocols import PROTOCOLS
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.imaging.mask import Mask

SIZE = (40, 50)


def rectangle(random):
    array = np.zeros(SIZE, bool)
    y, x, h, w = (int(random.integers(n)) for n in (30, 40, 14, 14))
    array[y : y + h + 3, x : x + w + 3] = True
    return array


def items(seed, count):
    """Yield (true, ignore, predicted, scores) with near misses of every degree."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        true = [rectangle(random) for _ in range(int(random.integers(0, 4)))]
        ignore = rectangle(random) if random.random() < 0.4 else None
        predicted = [rectangle(random) for _ in range(int(random.integers(0, 3)))]
        for array in (*true, *([] if ignore is None else [ignore])):
            for _ in range(int(random.integers(0, 3))):
                predicted.append(np.roll(array, tuple(random.integers(-3, 4, 2)), (0, 1)))
        scores = [round(float(random.random()), 1) for _ in predicted]  # many ties
        masks = [[Mask.from_array(array) for array in arrays] for arrays in (true, predicted)]
        yield masks[0], None if ignore is None else Mask.from_array(ignore), masks[1], scores


def coco_scores(data):
    images, annotations, results = [], [], []
    for number, (true, ignore, predicted, scores) in enumerate(data, 1):
        images.append({"id": number, "height": SIZE[0], "width": SIZE[1]})
        for mask, crowd in [*((mask, 0) for mask in true), *(((ignore, 1),) if ignore else ())]:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": crowd}
                | {"area": mask.area, "segmentation": mask.to_dict(), "bbox": [0, 0, 1, 1]}
            )
        for mask, score in zip(predicted, scores, strict=True):
            results.append(
                {"image_id": number, "category_id": 1, "segmentation": mask.to_dict(), "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[0], run.stats[1]


@pytest.mark.parametrize("seed", range(6))
def test_equals_cocos_own_evaluation(seed):
    data = list(items(seed, 40))
    found = [detections_of(predicted, scores, true, ignore) for true, ignore, predicted, scores in data]
    mine = average_precision(found, sum(len(true) for true, *_ in data))
    assert (mine["AP"], mine["AP50"]) == pytest.approx(coco_scores(data), abs=1e-12)
    assert 0.01 < mine["AP"] < mine["AP50"] < 0.95


def scored(predictions):
    square = Mask.from_array(np.pad(np.ones((5, 5), bool), 5))
    truths = [Truth(f"i{n}", square.size, (square,)) for n in range(len(predictions))]
    rows = [count(truth, p and p(square), pairs=True) for truth, p in zip(truths, predictions, strict=True)]
    return Scored(PROTOCOLS["askmask"], Meter(rows)).to_dict(resamples=0)


def test_a_missing_answer_costs_recall_and_a_single_mask_takes_the_answers_score():
    data = scored([lambda m: Prediction("i0", (m,), score=0.9), None])
    assert [data["AP"], data["AP50"]] == pytest.approx([51 / 101] * 2)  # recall stops at one half


def test_masks_without_scores_have_no_average_precision():
    assert "AP" not in scored([lambda m: Prediction("i0", (m,))])
    assert "AP" not in scored(
        [lambda m: Prediction("i0", (m,), score=1.0), lambda m: Prediction("i1", (m, m))]
    )


def test_scores_of_masks_survive_the_file():
    mask = Mask.from_array(np.eye(4))
    row = Prediction("a", (mask, mask), score=0.5, scores=(0.25, 0.75)).to_dict()
    assert row["mask_scores"] == [0.25, 0.75]
