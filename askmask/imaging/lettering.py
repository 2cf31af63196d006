"""Words on pictures in any script: the fonts of this machine, and for each letter one that has it.

No font comes with askmask: one for all scripts is larger than the rest of the package. Those of the system are
searched, and Matplotlib's where it is installed. What none of them has is said in brackets, "[3 HANGUL]", not drawn as
boxes.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONTS = (
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial.ttf",
    "LiberationSans-Regular.ttf",
)
MOST_FONTS = 400  # files that are looked into for a letter
NO_FONT = "no font of this machine has the letters in brackets"
_LACKING = "\U0010fffe"  # no letter: fonts draw for it what they draw for any that they do not have


class Lettering:
    """Draws and measures text of one height in pixels. `lacking` says whether a letter could not be drawn."""

    def __init__(self, size: int):
        self.size = size
        self.lacking = False

    def shown(self, text: str) -> str:
        """Return the text as it will be drawn: what no font has in brackets, what has no shape left out."""
        parts: list[str] = []
        lacking: list[str] = []  # the scripts of the letters since the last that could be drawn

        def say() -> None:
            parts.extend(f"[{len(list(same))} {script}]" for script, same in groupby(lacking))
            lacking.clear()

        for letter in text:
            kind = unicodedata.category(letter)
            if kind in ("Cc", "Cf", "Cs") or (kind[0] == "M" and lacking):  # a mark goes with its letter
                continue
            script = _lacking_script(letter, self.size)
            if script is not None:
                lacking.append(script)
                self.lacking = True
                continue
            say()
            parts.append(letter)
        say()
        return "".join(parts)

    def length(self, text: str) -> float:
        """Return the width of a text that `shown` gave, in pixels."""
        return sum(font.getlength(run) for run, font in self._runs(text))

    def draw(
        self, pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Draw a text that `shown` gave, its left end and middle at `place`."""
        x, y = place
        for run, font in self._runs(text):
            pen.text((x, y), run, font=font, fill=fill, anchor="lm")
            x += font.getlength(run)

    def _runs(self, text: str) -> list[tuple[str, Font]]:
        runs: list[tuple[str, Font]] = []
        for letter in text:
            # Blanks and marks that join a letter stay in its font.
            mark = letter.isspace() or unicodedata.category(letter).startswith("M")
            font = runs[-1][1] if mark and runs else _font_with(letter, self.size) or font_of(self.size)
            if runs and runs[-1][1] is font:
                runs[-1] = runs[-1][0] + letter, font
            else:
                runs.append((letter, font))
        return runs


@lru_cache(maxsize=16)
def font_of(size: int) -> Font:
    """Return the font of a height in pixels that most is written in: one of the system's, else Pillow's own."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return next((font for path in _files() if (font := _opened(path, size))), ImageFont.load_default(size))


@lru_cache(maxsize=4096)
def _lacking_script(letter: str, size: int) -> str | None:
    """Return the script of a letter that no font has, None for one that can be drawn or needs not be."""
    if letter.isspace() or unicodedata.category(letter)[0] in "CM" or _font_with(letter, size) is not None:
        return None
    return unicodedata.name(letter, "UNKNOWN").split()[0] if letter.isalpha() else "SYMBOL"


@lru_cache(maxsize=4096)
def _font_with(letter: str, size: int) -> Font | None:
    first = font_of(size)
    if _has(first, letter):
        return first
    fonts = (font for path in _files() if (font := _opened(path, size)))
    return next((font for font in fonts if _has(font, letter)), None)


def _has(font: Font, letter: str) -> bool:
    """Whether a font has a letter: it draws something else for it than for what is no letter."""
    try:
        return _drawn(font, letter) != _drawn(font, _LACKING)
    except (OSError, UnicodeError, ValueError):
        return False


def _drawn(font: Font, letter: str) -> tuple[tuple[int, ...], bytes]:
    mask = font.getmask(letter)
    return tuple(mask.size), bytes(mask)


@lru_cache(maxsize=2 * MOST_FONTS)
def _opened(path: Path, size: int) -> Font | None:
    try:
        return ImageFont.truetype(str(path), size)
    except OSError:  # a damaged font, or one of pictures, which has a size of its own
        return None


@lru_cache(maxsize=1)
def _files() -> tuple[Path, ...]:
    """Return the font files of this machine, those of many scripts and plain forms first."""
    home = Path.home()
    if sys.platform == "win32":
        roots = [
            Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",
            home / "AppData/Local/Microsoft/Windows/Fonts",
        ]
    elif sys.platform == "darwin":
        roots = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    else:
        data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
        roots = [
            Path("/usr/share/fonts"),
            Path("/usr/local/share/fonts"),
            Path(data) / "fonts",
            home / ".fonts",
        ]
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin:
        roots.append(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf")
    found = [
        path for root in roots for kind in ("ttf", "ttc", "otf", "otc") for path in root.rglob(f"*.{kind}")
    ]

    def order(path: Path) -> tuple[bool, bool, bool, str]:
        name = path.name.lower()
        slanted = any(
            word in name for word in ("italic", "oblique", "bold", "mono", "serif", "condensed", "light")
        )
        many = any(word in name for word in ("cjk", "unicode", "dejavu", "unifont", "droidsansfallback"))
        return slanted, not many, "noto" not in name, name

    return tuple(sorted(found, key=order)[:MOST_FONTS])
