"""Read YAML of plain containers, of bounded size and depth: a few lines with aliases can stand for gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.formats.reading import naming, read_bytes

MAX_YAML_BYTES = 1 << 20
_DEEPEST = 20


def read_plain_yaml(path: str | Path) -> Any:
    """Return what the file holds. Raises DataError naming it for aliases, deep nesting, and what is no YAML."""
    import yaml

    class Plain(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """Refuse aliases and deep nesting before anything is made of them."""
            if self.check_event(yaml.events.AliasEvent) or self.depth > _DEEPEST:
                raise yaml.YAMLError("it has aliases, or is nested deeper than any such list")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    with naming(str(path)):
        try:
            return yaml.load(read_bytes(path, MAX_YAML_BYTES).decode("utf-8"), Plain)
        except yaml.YAMLError as error:
            raise DataError("not YAML that can be read", got=str(error)[:200]) from error
