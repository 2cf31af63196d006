"""`askmask convert-published`: the released three-part weights -> one checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app

EXAMPLES = """
Turn the published three-part ConverSeg release into one checkpoint folder.

Example:

  askmask convert-published --sam2 net_sam2_90000.torch --adapter net_plm_90000.torch
    --lora lora_plm_adapter_90000 --vlm Qwen/Qwen2.5-VL-3B-Instruct --out converseg-3b

Files are read as plain weights (nothing in them is run); a key that does not fit is named. --vlm is a folder
with config and tokenizer, or a name on the Hub from which these small files are fetched.
"""


@app.command("convert-published", help=EXAMPLES)
def convert(
    sam2: Annotated[Path, typer.Option(help="SAM2 part.", show_default=False)],
    adapter: Annotated[Path, typer.Option(help="Adapter and language part.", show_default=False)],
    lora: Annotated[Path, typer.Option(help="PEFT folder of the LoRA weights.", show_default=False)],
    vlm: Annotated[str, typer.Option(help="Folder or Hub name of the language model.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.", show_default=False)],
    sam2_config: Annotated[
        Path | None, typer.Option(help="Sizes as JSON, for a SAM2 that is none of the published ones.")
    ] = None,
) -> None:
    """Convert the published release."""
    from rich.console import Console

    from askmask.hub import fetch_vlm
    from askmask.model.published import convert_published

    folder = Path(vlm) if Path(vlm).is_dir() else fetch_vlm(vlm)
    with Console(stderr=True).status("converting"):
        done = convert_published(sam2, adapter, lora, folder, out, sam2_config=sam2_config)
    size = sum(path.stat().st_size for path in done.rglob("*") if path.is_file())
    typer.echo(
        f"{done}: {size / 1e6:.1f} MB. The licence of these weights is not known: check it where you got them."
    )
    typer.echo(f'try: askmask segment PICTURE "what to look for" --model {done} --protocol published-eval')
