"""The file tree of the package, one line a file from its docstring: python -m tests.house.tree [--write]."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH = 118


def first_line(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=\.)\s|\n", doc, maxsplit=1)[0].rstrip(".")


def lines(folder: Path, depth: int = 0):
    entries = sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name))
    for path in entries:
        indent = "  " * depth
        if path.is_dir() and (path / "__init__.py").exists():
            yield f"{indent}{path.name}/", first_line(path / "__init__.py")
            yield from lines(path, depth + 1)
        elif path.suffix == ".py" and not path.name.startswith("__"):
            yield f"{indent}{path.name}", first_line(path)


def tree() -> str:
    rows = [("askmask/", first_line(ROOT / "askmask" / "__init__.py")), *lines(ROOT / "askmask", 1)]
    column = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{column}}{text}"[:WIDTH].rstrip() for name, text in rows)


if __name__ == "__main__":
    if "--write" in sys.argv:
        readme = ROOT / "README.md"
        text = readme.read_text(encoding="utf-8")
        readme.write_text(
            re.sub(r"(<!-- tree -->\n```\n).*?(\n```)", lambda m: m[1] + tree() + m[2], text, flags=re.S),
            encoding="utf-8",
        )
    print(tree())
