"""How each family of models writes places: keys, order of axes, scale, and the size of picture it wants.

One table for all who read coordinates from a model. What family a model belongs to follows from its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from askmask.errors import SettingError

GOLDEN_SIZE = 672, 896  # (height, width): whole patches of every family
GOLDEN_BOX = (224.0, 168.0, 560.0, 504.0)  # of its pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """One way of writing places. `scale`: what the far edge is called; None: pixels of the picture as sent."""

    name: str
    source: str  # where it is documented
    golden: str  # a reply as the family writes it, about GOLDEN_BOX in a picture sent as GOLDEN_SIZE
    scale: float | None = 1000.0
    y_first: bool = False
    box_key: str = "bbox_2d"
    points_key: str = "points_2d"
    multiple: int = (
        32  # px: sides of the picture sent are multiples of it, so that the server need not resize
    )

    def edge(self, side: int) -> float:
        """Return what the far edge of a side of so many pixels is called."""
        return float(side) if self.scale is None else self.scale

    def xy(self, first: float, second: float, size: tuple[int, int]) -> tuple[float, float]:
        """Return (x, y) in pixels of the picture as sent, `size` (height, width), from two numbers as written."""
        x, y = (second, first) if self.y_first else (first, second)
        height, width = size
        return x * width / self.edge(width), y * height / self.edge(height)

    def written(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        """Return two numbers as the model would write (x, y) in pixels of the picture as sent."""
        height, width = size
        digits = 4 if self.scale is not None and self.scale <= 1 else 1
        x, y = round(x * self.edge(width) / width, digits), round(y * self.edge(height) / height, digits)
        return (y, x) if self.y_first else (x, y)

    def in_words(self, size: tuple[int, int]) -> str:
        """Say to the model how to write a box."""
        order = "[y0, x0, y1, x1], points as [y, x]" if self.y_first else "[x0, y0, x1, y1], points as [x, y]"
        if self.scale is None:
            unit = f"pixels of this picture, which is {size[1]} wide and {size[0]} high"
        else:
            unit = f"numbers from 0 to {self.scale:g} over the picture's width (x) and height (y)"
        return f"boxes as {order}, in {unit}, origin at the top left"


TABLE = {
    one.name: one
    for one in (
        Convention(
            name="qwen3-vl",
            source="QwenLM/Qwen3-VL cookbooks/spatial_understanding.ipynb: 0-1000 per axis",
            golden='```json\n[{"bbox_2d": [250, 250, 625, 750], "label": "cup"}]\n```',
        ),
        Convention(
            name="qwen2.5-vl",
            source="QwenLM/Qwen3-VL qwen-vl-finetune/tools/process_bbox.ipynb: pixels of the resized picture",
            golden='```json\n[{"bbox_2d": [224, 168, 560, 504], "label": "cup"}]\n```',
            scale=None,
            multiple=28,
        ),
        Convention(
            name="gemini",
            source="roboflow/supervision detection/vlm.py: box_2d, y first, 0-1000",
            golden='[{"box_2d": [250, 250, 750, 625], "label": "cup"}]',
            y_first=True,
            box_key="box_2d",
            points_key="points",
        ),
        Convention(
            name="deepseek-vl2",
            source="roboflow/supervision detection/vlm.py: <|det|>, 0-999",
            golden="<|ref|>cup<|/ref|><|det|>[[250, 250, 624, 749]]<|/det|>",
            scale=999.0,
            multiple=28,
        ),
        Convention(
            name="paligemma",
            source="roboflow/supervision detection/vlm.py: <loc>, y first, 0-1024",
            golden="<loc0256><loc0256><loc0768><loc0640> cup",
            scale=1024.0,
            y_first=True,
        ),
        Convention(
            name="fractions",
            source="MoonshotAI/Kimi-VL issue 56; Moondream's x_min ... y_max",
            golden='{"bbox_2d": [0.25, 0.25, 0.625, 0.75], "label": "cup"}',
            scale=1.0,
            multiple=28,
        ),
        Convention(
            name="pixels",
            source="roboflow/inference pull request 2997: pixels of the uploaded picture",
            golden='{"instances": [{"bbox_2d": [224, 168, 560, 504], "label": "cup"}]}',
            scale=None,
            multiple=32,
        ),
    )
}
OF_FAMILY = (
    (r"qwen[-_]?2[._-]?5[-_]?vl", "qwen2.5-vl"),
    (r"qwen[-_]?[3-9]", "qwen3-vl"),  # a name without a number (qwen-vl-max) has been both
    (r"gemini", "gemini"),
    (r"paligemma", "paligemma"),
    (r"deepseek-?vl", "deepseek-vl2"),
    (r"kimi|moondream", "fractions"),
    (r"gpt|(^|/)o[134]\b", "pixels"),
)
UNKNOWN = TABLE["qwen3-vl"]  # thousandths: what most models of today were trained on


def convention_of(model: str, override: str | None = None) -> Convention:
    """Return how a model writes places, by its name; `override` names a row of the table. Raises SettingError."""
    if override is not None:
        if override not in TABLE:
            raise SettingError(
                "no such convention", got=repr(override), do=f"Use one of: {', '.join(TABLE)}."
            )
        return TABLE[override]
    name = model.casefold()
    return next((TABLE[row] for pattern, row in OF_FAMILY if re.search(pattern, name)), UNKNOWN)


def is_known(model: str) -> bool:
    """Whether the table has a row for a model of this name."""
    return any(re.search(pattern, model.casefold()) for pattern, _ in OF_FAMILY)
