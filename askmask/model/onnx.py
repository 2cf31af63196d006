"""A model folder with ONNX graphs of its modules: whoever loads it on a processor runs these (mini/graphs.py)."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from askmask.errors import SettingError
from askmask.model.checkpoint import (
    GRAPHS,
    check_files,
    files_of,
    load_checkpoint,
    new_checkpoint,
    write_card,
)
from askmask.model.mini.graphs import export_graphs
from askmask.model.mini.net import Mini
from askmask.runs.whole_files import copy_file


def write_with_graphs(source: Path, out: str | Path) -> Path:
    """Copy a checkpoint of mini and add graphs. Raises SettingError for another network, MissingExtra."""
    card = check_files(source)
    net, config = load_checkpoint(source)
    if not isinstance(net, Mini):
        raise SettingError("only small networks like mini are made into graphs", got=config.name)
    with new_checkpoint(out) as fresh:
        for name, path in files_of(source).items():
            if not name.startswith(f"{GRAPHS}/"):
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(path, fresh / name)
        if (source / "card.md").is_file():
            copy_file(source / "card.md", fresh / "card.md")
        export_graphs(net, fresh / GRAPHS)
        made = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
        write_card(fresh, config, {**card["provenance"], "graphs": made})
    return Path(out)
