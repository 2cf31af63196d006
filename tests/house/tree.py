"""The file tree of the package, one line a file from its docstring: python -m tests.house.tree --write.

The README shows the top of it, docs/architecture.md all of it.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH = 118
PAGES = {"README.md": 1, "docs/architecture.md": 9}  # page -> depth shown


def first_sentence(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=\.)\s|\n", doc, maxsplit=1)[0].rstrip(".")


def lines(folder: Path, deepest: int, depth: int = 1) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
        indent = "  " * depth
        if path.is_dir() and (path / "__init__.py").exists():
            yield f"{indent}{path.name}/", first_sentence(path / "__init__.py")
            if depth < deepest:
                yield from lines(path, deepest, depth + 1)
        elif path.suffix == ".py" and not path.name.startswith("__"):
            yield f"{indent}{path.name}", first_sentence(path)


def tree(depth: int) -> str:
    rows = [("askmask/", first_sentence(ROOT / "askmask" / "__init__.py")), *lines(ROOT / "askmask", depth)]
    column = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{column}}{fitting(text, WIDTH - column)}" for name, text in rows)


def fitting(text: str, width: int) -> str:
    """Return the text, or as many of its clauses as fit: a line ends with a whole phrase."""
    if len(text) <= width:
        return text
    ends = [match.start() for match in re.finditer(r"[:;,] | and | -> ", text) if match.start() <= width]
    return text[: ends[-1]] if ends else text[:width].rsplit(" ", 1)[0]


if __name__ == "__main__":
    for page, depth in PAGES.items():
        print(tree(depth))
        if "--write" in sys.argv:
            text = (ROOT / page).read_text(encoding="utf-8")
            fenced = re.compile(r"(<!-- tree -->\n```\n).*?(```)", flags=re.DOTALL)
            (ROOT / page).write_text(
                fenced.sub(lambda m, d=depth: f"{m[1]}{tree(d)}\n{m[2]}", text), encoding="utf-8"
            )
