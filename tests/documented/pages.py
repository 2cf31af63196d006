"""Commands and Python of the pages: what a reader would copy."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "results/mini/README.md",
]
STARTS = ("askmask ", "python ", "python3 ", "pip ", "lmms-eval ", ".venv/")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASIDE = re.compile(r"(?:\s{2,}#|\s{4,}\w).*$")  # a remark to the right of a command


@dataclass(frozen=True)
class Command:
    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands() -> list[Command]:
    """Every command that stands in a block of its own, fenced or indented."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [m[2] for m in FENCE.finditer(text) if m[1] == "sh"]
        blocks += re.findall(r"(?:^    .*\n)+", FENCE.sub("", text), re.MULTILINE)
        for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(blocks)).splitlines():
            line = ASIDE.sub("", line.strip()).removesuffix("&").strip()
            if line.startswith(STARTS):
                found.append(Command(page.relative_to(ROOT).as_posix(), line))
    return found


def mentions() -> list[Command]:
    """Every `askmask ...` within a sentence."""
    return [
        Command(page.relative_to(ROOT).as_posix(), " ".join(found.split()))
        for page in PAGES
        for found in re.findall(r"`(askmask [^`]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))
    ]


def python_blocks() -> list[Command]:
    """Every block of Python."""
    return [
        Command(page.relative_to(ROOT).as_posix(), m[2])
        for page in PAGES
        for m in FENCE.finditer(page.read_text(encoding="utf-8"))
        if m[1] == "python"
    ]
