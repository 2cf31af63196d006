"""Marks on the picture through the same door as words: points, boxes, drawn masks; one mask per object."""

import numpy as np
import pytest
import torch
from PIL import Image

import askmask
from askmask import Mask
from askmask.backends.instances import split
from askmask.errors import PromptError
from askmask.imaging.files import read_picture
from askmask.model.protocols import PROTOCOLS


@pytest.fixture(scope="module")
def table():
    return askmask.load("mini", device="cpu").open("examples/table.png")


def test_a_click_finds_the_thing_that_words_find(table):
    asked = table.ask_many(["the red box", "the yellow box", "the boxes", "the bottle"])
    found = max((answer for answer in asked if answer.found), key=lambda answer: answer.score)
    rows, columns = np.nonzero(found.segments[0].mask.to_array())
    inside = (columns[len(columns) // 2] + 0.5, rows[len(rows) // 2] + 0.5)
    clicked = table.ask(points=[inside])
    assert clicked.found and clicked.mask.to_array()[int(inside[1]), int(inside[0])]
    boxed = table.ask(boxes=[clicked.mask.box])
    assert boxed.mask.iou(clicked.mask) > 0.6


def test_every_box_is_a_thing_of_its_own(table):
    boxes = [(39, 175, 136, 280), (276, 72, 319, 173)]  # around the purple box, and the glass
    answer = table.ask(boxes=boxes)
    assert len(answer.segments) == len(boxes)
    for segment, box in zip(answer.segments, boxes, strict=True):
        assert np.abs(np.subtract(segment.mask.box, box)).max() < 12


@pytest.mark.parametrize(
    "arguments",
    [
        {"points": [(5, 5), (9, 9)]},
        {"points": [(5, 5, False)]},
        {"prompt": "the mug", "points": [(5, 5)]},
    ],
)
def test_marks_that_mini_cannot_read_are_refused(table, arguments):
    with pytest.raises(PromptError):
        table.ask(**arguments)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_sam2_takes_points_boxes_and_drawn_masks(tiny_folder, picture_path, protocol):
    session = askmask.load(tiny_folder, device="cpu", protocol=protocol).open(picture_path)
    first = session.ask(points=[(40, 30)], keep_logits=True)
    second = session.ask(points=[(40, 30), (100, 80, False)], keep_logits=True)
    third = session.ask(points=[(40, 30)], mask=Mask.full(session.picture.size), keep_logits=True)
    assert not np.allclose(first.logits, second.logits) and not np.allclose(first.logits, third.logits)
    assert [r.prompt.points for r in session.rounds][1] == ((40.0, 30.0, True), (100.0, 80.0, False))
    with pytest.raises(PromptError, match="a point or a box"):
        session.ask(mask=Mask.full(session.picture.size))
    alternatives = session.ask(boxes=[(10, 10, 60, 50)], keep_alternatives=True).alternatives
    assert len(alternatives) == (2 if PROTOCOLS[protocol].best_of_three else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_places_follow_the_pixels_into_the_square(tmp_path, orientation, protocol):
    """A bright spot of the upright picture lies where `to_square` says in what the network is given."""
    stored = np.zeros((60, 100, 3), np.uint8)
    stored[10:16, 70:76] = 255
    path = tmp_path / "spot.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    picture, rules = read_picture(path), PROTOCOLS[protocol]
    rows, columns = np.nonzero(picture.rgb[:, :, 0])
    place = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])
    (x, y), side = rules.to_square(place, picture, 256)[0], 256
    logits = rules.mask_logits(picture.rgb[:, :, 0] > 0, picture, side)
    found = (logits > 0).nonzero().float().mean(0) + 0.5
    assert torch.allclose(found, torch.tensor([y * side, x * side], dtype=torch.float32), atol=1.5)


def test_pieces_add_up_to_the_mask_and_are_named_from_left_to_right():
    objects = torch.zeros(3, 16, 16)
    objects[0, :, 10:14] = objects[1, :, 2:6] = 1
    objects[2] = 0.1
    mask = np.zeros((32, 32), bool)
    mask[4:28, 2:14], mask[4:28, 19:30] = True, True  # reaches a little beyond the objects
    pieces = split(mask, objects, torch.tensor([2.0, 1.0, -3.0]))
    assert len(pieces) == 2 and np.array_equal(pieces[0].mask | pieces[1].mask, mask)
    assert not (pieces[0].mask & pieces[1].mask).any() and pieces[0].mask[:, :16].sum() == mask[:, :16].sum()
    assert pieces[0].likely == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())
    (whole,) = split(mask, objects, torch.tensor([2.0, -1.0, -3.0]))
    assert whole.mask is mask and (whole.likely, whole.number) == (1.0, 0)
