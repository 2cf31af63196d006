"""`askmask segment --model point` on photographs: places in every family's way of writing come back within a pixel."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("openai")
from askmask.cli.app import app, register_commands
from askmask.imaging.files import read_picture
from askmask.pointing.conventions import GOLDEN_BOX, GOLDEN_SIZE, TABLE, convention_of
from askmask.pointing.outcome import Pointed
from askmask.pointing.reading import read_pointing
from askmask.pointing.sent import Sent
from askmask.vlm.pictures import SentPicture
from askmask.vlm.request import Completion
from tests.conftest import RECORDED
from tests.pointing.test_point import sent_pictures
from tests.vlm.endpoint import reply, scripted

register_commands()
INTENDED = (0.2, 0.3, 0.6, 0.8)  # left, top, right, bottom, as shares of the upright picture

# How each family writes a box (x0, y0, x1, y1) of a picture sent as width x height: said here once more, by hand.
WRITTEN = {
    "qwen3-vl": lambda b, w, h: (
        "```json\n" + json.dumps([{"bbox_2d": _each(b, 1000 / w, 1000 / h), "label": "it"}]) + "\n```"
    ),
    "qwen2.5-vl": lambda b, w, h: "```json\n" + json.dumps([{"bbox_2d": list(b), "label": "it"}]) + "\n```",
    "gemini": lambda b, w, h: json.dumps(
        [{"box_2d": [_each(b, 1000 / w, 1000 / h)[n] for n in (1, 0, 3, 2)], "label": "it"}]
    ),
    "deepseek-vl2": lambda b, w, h: (
        f"<|ref|>it<|/ref|><|det|>[[{', '.join(map(str, _each(b, 999 / w, 999 / h)))}]]<|/det|>"
    ),
    "paligemma": lambda b, w, h: (
        "".join(f"<loc{_each(b, 1024 / w, 1024 / h)[n]:04d}>" for n in (1, 0, 3, 2)) + " it"
    ),
    "fractions": lambda b, w, h: json.dumps(
        {"bbox_2d": [b[0] / w, b[1] / h, b[2] / w, b[3] / h], "label": "it"}
    ),
    "pixels": lambda b, w, h: json.dumps({"instances": [{"bbox_2d": list(b), "label": "it"}]}),
}


def _each(box, across, down):
    return [round(value * scale) for value, scale in zip(box, (across, down) * 2, strict=True)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Landscape, portrait, tiny, turned by EXIF, 4000 px wide, and a strip."""
    folder = tmp_path_factory.mktemp("photographs")
    groceries = Image.open(RECORDED / "images" / "groceries_320x214.png").convert("RGB")
    groceries.resize((4000, 1400)).save(folder / "large.jpg", quality=80)
    groceries.resize((900, 120)).save(folder / "strip.png")
    groceries.crop((40, 0, 200, 214)).save(folder / "portrait.png")
    kept = [
        RECORDED / "images" / name
        for name in ("truck_240x160.png", "fmt_exif6_96x64.jpg", "fmt_tiny_30x20.png")
    ]
    return [*kept, *sorted(folder.iterdir())]


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_places_are_within_a_pixel_on_photographs(name, photographs, tmp_path):
    """The server says where a thing is in the picture that it was sent, as a model of the family would."""
    meant = {}

    def answer(body):
        (seen,) = sent_pictures(body)
        width, height = seen.size
        padding = np.abs(np.asarray(seen, np.int16) - 127).max(axis=(1, 2)) < 20  # below a strip
        shown = (width, int(np.argmax(padding)) if padding.any() else height)
        small = Image.fromarray(picture.rgb).resize(shown)
        differ = np.asarray(small, np.int16) - np.asarray(seen.crop((0, 0, *shown)), np.int16)
        assert np.abs(differ).mean() < 12
        # Meant is what the numbers that the family writes can say.
        far = (width, height) if (scale := TABLE[name].scale) is None else (scale, scale)
        fine = 1 if scale != 1.0 else 10_000
        at = [share * part / side * end for share, part, side, end in zip(
            INTENDED, shown * 2, (width, height) * 2, far * 2, strict=True
        )]  # fmt: skip
        box = [
            round(value * fine) / fine / end * side
            for value, end, side in zip(at, far * 2, (width, height) * 2, strict=True)
        ]
        meant["box"] = [
            value * full / part for value, full, part in zip(box, upright[::-1] * 2, shown * 2, strict=True)
        ]
        return reply(WRITTEN[name](box, width, height))

    odd = [RECORDED / "images" / f"fmt_{kind}_96x64.png" for kind in ("gray", "palette", "rgba")]
    with scripted(answer) as (url, _):
        # What a picture is like and how a family writes do not meet: one family sees all pictures, the others some.
        for path in [*photographs, *odd] if name == "qwen3-vl" else photographs[1::2]:
            picture = read_picture(path)
            upright = picture.size
            command = ["segment", str(path), "it", "--model", "point", "--vlm-model", "some-model", "--json"]
            command += ["--base-url", url, "--drawer", "classical", "--convention", name]
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, (path.name, result.output, result.exception)
            (pointed,) = json.loads(result.stdout)["answers"][0]["pointed"]
            off = np.abs(np.array(pointed["boxes"][0]) - meant["box"]).max()
            assert off <= 1.0, f"{path.name}: {off:.2f} px"


@pytest.mark.parametrize("convention", TABLE.values(), ids=lambda one: one.name)
def test_each_convention_has_a_source_and_a_golden_reply(convention):
    sent = Sent(SentPicture(np.zeros((*GOLDEN_SIZE, 3), np.uint8), "p"), GOLDEN_SIZE, (1.0, 1.0))
    outcome = read_pointing(Completion(text=convention.golden), sent, convention)
    assert isinstance(outcome, Pointed) and len(outcome.instances) == 1 and outcome.outside == 0
    assert np.abs(np.array(outcome.instances[0].box) - GOLDEN_BOX).max() < 0.5
    assert outcome.instances[0].label == "cup" and "/" in convention.source
    assert all(side % convention.multiple == 0 for side in GOLDEN_SIZE)
    # Another family's reply, read by this convention, is no success that looks like one.
    for other in TABLE.values():
        if (other.scale, other.y_first) != (convention.scale, convention.y_first):
            read = read_pointing(Completion(text=other.golden), sent, convention)
            close = {other.scale, convention.scale} in ({1000.0, 999.0}, {1000.0, 1024.0}, {999.0, 1024.0})
            if isinstance(read, Pointed) and not (close and other.y_first == convention.y_first):
                assert np.abs(np.array(read.instances[0].box) - GOLDEN_BOX).max() > 20


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("qwen/qwen2.5-vl-7b", "qwen2.5-vl"),
        ("Qwen2_5-VL-3B", "qwen2.5-vl"),
        ("qwen3.5-27b", "qwen3-vl"),
        ("google/gemini-3-flash", "gemini"),
    ],
)
def test_a_family_is_known_however_its_servers_spell_it(model, name):
    assert convention_of(model).name == name
