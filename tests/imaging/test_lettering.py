"""Letters of any script are drawn by a font that has them, or named in brackets: never as boxes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from askmask.imaging.lettering import Lettering
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import Layer, draw

TEXTS = {
    "the mug": "", "où est la tasse": "", "что упадёт": "", "ποῦ": "", "杯子在哪里": "CJK", "컵은 어디": "HANGUL",
    "أين الكوب": "ARABIC", "कप कहाँ है": "DEVANAGARI", "แก้ว": "THAI", "\U00012000\U00012001": "CUNEIFORM",
}  # fmt: skip


def pixels(text: str) -> bytes:
    letters, image = Lettering(24), Image.new("L", (900, 40), 255)
    letters.draw(ImageDraw.Draw(image), (2, 20), letters.shown(text), 0)  # type: ignore[arg-type]
    return image.tobytes()


@pytest.mark.parametrize("text", TEXTS)
def test_a_script_is_drawn_or_named(text):
    letters = Lettering(24)
    shown = letters.shown(text)
    if letters.lacking:
        assert TEXTS[text] and TEXTS[text] in shown and shown.isascii(), shown
        return
    assert shown == text
    # Boxes are alike: words of the same letters in another order would be too.
    others = text[::-1]
    assert others == text or pixels(text) != pixels(others)


def test_known_and_unknown_letters_in_one_line():
    shown = Lettering(24).shown("the mug \U00012000\U00012001 here")
    assert shown in ("the mug [2 CUNEIFORM] here", "the mug \U00012000\U00012001 here")
    assert Lettering(20).length(shown) > Lettering(20).length("the mug") > 0


def test_what_has_no_shape_is_left_out():
    assert Lettering(24).shown("a\u200b\u202eb\x07c\ud800") == "abc"


def test_the_legend_says_that_letters_are_lacking():
    rgb = np.full((200, 500, 3), 128, np.uint8)
    known = draw(rgb, [Layer([Mask.full((200, 500))], "a mug")])
    odd = draw(rgb, [Layer([Mask.full((200, 500))], "a \U00012000")])
    assert odd.height > known.height or not Lettering(14).shown("\U00012000").startswith("[")
