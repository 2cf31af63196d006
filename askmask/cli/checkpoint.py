"""`askmask new` and `askmask convert-published`: base or released weights -> one checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app, say
from askmask.cli.options import Yes, confirm_with

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

    from askmask.errors import CheckpointError
    from askmask.hub import fetch_vlm
    from askmask.model.published import convert_published

    for path in (sam2, adapter, lora, *([sam2_config] if sam2_config else [])):
        if not path.exists():  # said before anything is fetched
            raise CheckpointError("no such checkpoint file", got=path)
    folder = Path(vlm) if Path(vlm).is_dir() else fetch_vlm(vlm)
    with Console(stderr=True).status("converting"):
        done = convert_published(sam2, adapter, lora, folder, out, sam2_config=sam2_config)
    size = sum(path.stat().st_size for path in done.rglob("*") if path.is_file())
    say(
        f"{done}: {size / 1e6:.1f} MB. The licence of these weights is not known: check it where you got them."
    )
    say(f'try: askmask segment PICTURE "what to look for" --model {done} --protocol published-eval')


NEW = """
Build a network to train from base weights: Qwen2.5-VL, SAM2 or SAM2.1, and a fresh adapter and LoRA between them.

Example:

  askmask new models/mine --vlm Qwen/Qwen2.5-VL-3B-Instruct --segmenter facebook/sam2.1-hiera-large

  askmask new --estimate 3b

  askmask new models/talking --talking-from models/mine

  askmask new models/miras --miras --clip openai/clip-vit-large-patch14-336 --convnext FOLDER
    --vlm llava-hf/llava-1.5-7b-hf --segmenter facebook/sam2.1-hiera-large

All are folders in transformers' layout, or names on the Hub, fetched only after a yes. --estimate needs no weights:
it says what training a network of that size holds in memory. --miras builds the network of MIRAS (ACL 2025), which
talks from the start: its language model is a Llama, a Vicuna or a LLaVA-1.5, its eyes a CLIP and a ConvNeXt.
"""


@app.command("new", help=NEW)
def new(
    out: Annotated[
        Path | None, typer.Argument(help="Checkpoint folder to write.", show_default=False)
    ] = None,
    vlm: Annotated[
        str,
        typer.Option(help="Folder or Hub name of Qwen2.5-VL; with --miras, of a Llama.", show_default=False),
    ] = "",
    segmenter: Annotated[str, typer.Option(help="Folder or Hub name of SAM2.", show_default=False)] = "",
    miras: Annotated[bool, typer.Option("--miras", help="Build MIRAS's network.")] = False,
    clip: Annotated[str, typer.Option(help="Of --miras: folder or Hub name.", show_default=False)] = "",
    convnext: Annotated[str, typer.Option(help="Of --miras: folder or Hub name.", show_default=False)] = "",
    side: Annotated[int, typer.Option(min=32, help="Of --miras: pixels of the square it sees.")] = 768,
    framing: Annotated[
        str, typer.Option(help="Of --miras: stretch, or crop to the middle square, as published.")
    ] = "stretch",
    rank: Annotated[
        int | None, typer.Option(min=1, help="Of LoRA: 16, with --miras 8.", show_default=False)
    ] = None,
    alpha: Annotated[
        int | None, typer.Option(min=1, help="Of LoRA: 32, with --miras 16.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the fresh parts.")] = 0,
    estimate: Annotated[
        str, typer.Option(help="3b, 7b or miras: memory of training it.", show_default=False)
    ] = "",
    talking_from: Annotated[
        str,
        typer.Option(help="Checkpoint folder to make one of that remembers and replies.", show_default=False),
    ] = "",
    talk: Annotated[
        list[str] | None,
        typer.Option(
            help="key=value of how it does: mask_tokens, box, align, inject, adapter, read.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Build a network to train."""
    from askmask.errors import SettingError

    if talking_from:
        if out is None:
            raise SettingError("OUT is needed", do="Name the folder to write.")
        from askmask.model.talk.config import TalkConfig
        from askmask.model.talk.grow import grow
        from askmask.training.settings import override

        done = grow(talking_from, out, override(TalkConfig(), talk or []), seed=seed)
        say(f"{done}\ntry: askmask train conversation data=mrseg:FOLDER model={done}")
        return

    if estimate:
        from askmask.training.estimate import cache_bytes, estimate_miras
        from askmask.training.estimate import estimate as estimated

        if estimate == "miras":
            say(f"MIRAS and SAM2 large, as its paper trains it: {estimate_miras()}")
            say(f"as its code does: {estimate_miras(as_coded=True)}")
        else:
            alone = estimated(estimate, rank=rank or 16)
            say(f"Qwen2.5-VL {estimate} and SAM2 large, phases one and two: {alone}")
            talking = estimated(estimate, rank=rank or 16, talking=True)
            say(f"the same in conversations: {talking}")
        say(f"a conversation's cache: {cache_bytes(estimate) * 1000 / 2**20:.0f} MiB for each 1000 tokens")
        return
    if miras and not (out and clip and convnext and vlm and segmenter):
        raise SettingError("OUT, --clip, --convnext, --vlm and --segmenter are needed", do="Name them all.")
    if out is None or not vlm or not segmenter:
        raise SettingError(
            "OUT, --vlm and --segmenter are needed", do="Or ask for the memory: --estimate 3b."
        )
    from rich.console import Console

    from askmask.hub import fetch_weights
    from askmask.model.new import new_network

    confirm = confirm_with(yes)
    if miras:
        from askmask.model.miras.new import new_miras
        from askmask.model.talk.config import TalkConfig
        from askmask.training.settings import override

        eyes, fine, words = (fetch_weights(name, confirm=confirm) for name in (clip, convnext, vlm))
        drawer = segmenter if Path(segmenter).is_file() else fetch_weights(segmenter, confirm=confirm)
        with Console(stderr=True).status("building"):
            done = new_miras(
                eyes,
                fine,
                words,
                drawer,
                out,
                talk=override(TalkConfig.miras(), talk or []),
                rank=rank or 8,
                alpha=alpha or 16,
                side=side,
                framing=framing,
                seed=seed,
            )
        say(f"{done}\ntry: askmask train miras_one data=refcoco:FOLDER model={done}")
        return
    bases = (
        fetch_weights(vlm, confirm=confirm),
        segmenter if Path(segmenter).is_file() else fetch_weights(segmenter, confirm=confirm),
    )
    with Console(stderr=True).status("building"):
        done = new_network(*bases, out, rank=rank or 16, alpha=alpha or 32, seed=seed)
    size = sum(path.stat().st_size for path in done.rglob("*") if path.is_file())
    say(f"{done}: {size / 1e6:.1f} MB. The licences are those of the base weights: check them.")
    say(f"try: askmask train phase_one data=FOLDER model={done}")


ONNX = """
Write a model folder whose modules are ONNX graphs: the same answers in less time on a processor.

Examples:

  askmask onnx mini models/mini-onnx

  askmask segment photo.jpg "the mug" --model models/mini-onnx

MODEL is mini, or a folder of weights that were trained like it. Needs: pip install 'askmask[onnx]'.
"""


@app.command("onnx", help=ONNX)
def onnx(
    model: Annotated[str, typer.Argument(help="mini, or a model folder.")],
    out: Annotated[Path, typer.Argument(help="The model folder to write.")],
) -> None:
    """Export graphs."""
    from rich.console import Console

    from askmask.errors import SettingError
    from askmask.loading import BUNDLED, find_checkpoint
    from askmask.model.onnx import write_with_graphs

    if model not in BUNDLED and not Path(model).is_dir():  # before anything is fetched
        raise SettingError(
            "only mini, or a folder of weights trained like it, is made into graphs", got=model
        )
    source = find_checkpoint(model)
    with Console(stderr=True).status("exporting"):
        done = write_with_graphs(source, out)
    size = sum(path.stat().st_size for path in done.rglob("*") if path.is_file())
    say(f"{done}: {size / 1e6:.1f} MB, its graphs compute what its weights do")
