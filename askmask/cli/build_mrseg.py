"""`askmask build mrseg`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import say
from askmask.cli.options import progress_bar
from askmask.errors import SettingError

if TYPE_CHECKING:
    from askmask.runs.manifest import OutputFolder


def mrseg(
    source: Annotated[
        list[str],
        typer.Option("--source", "-s", help="NAME:ROOT[@SPLIT], once for each set.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An empty folder, or one of this command's.", show_default=False),
    ],
    seed: Annotated[int, typer.Option(help="Equal seeds and files give equal bytes.")] = 0,
    pictures: Annotated[
        str, typer.Option(help="link (hard links), copy, or none: they are only named.")
    ] = "link",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures of each source.")] = None,
    clean_up: Annotated[
        bool, typer.Option("--clean-up", help="Let --model correct the sentences, in two rounds.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="A language model; it also describes COCO's instances if no file does.", show_default=False
        ),
    ] = None,
    vlm: Annotated[str, typer.Option(help="Where it runs: openai, google, local or replay.")] = "openai",
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible endpoint.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Variable that holds the key.")] = None,
    price: Annotated[str | None, typer.Option(help="Dollars per million tokens: IN,OUT.")] = None,
    max_usd: Annotated[
        float | None, typer.Option(help="Never start a call that could pass this many dollars.")
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(help="Never start a call beyond this many, retries included.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=512, help="Calls in flight at once.")] = 8,
    allow_floating: Annotated[
        bool, typer.Option("--allow-floating", help="Allow model names like *-latest.")
    ] = False,
) -> None:
    """Build the multi-round conversations of SegLLM's MRSeg by its rules.

    Examples:

      askmask build mrseg --source refcoco:data/refer --source lvis:data/lvis --seed 7 --out data/mrseg

      askmask build mrseg -s paco:data/paco@val -s pascal:data/ppp@val --out data/mrseg-val --limit 100

    Sources: refcoco, refcoco+, refcocog, lvis, paco, pascal, vg, coco, ade20k, cocostuff, reasonseg;
    docs/build-mrseg.md shows how each lies on the disk. SPLIT is train without one. Written are SegLLM's conversation
    files (mrseg:OUT@all_data_mix_train for askmask eval), the same as our own (OUT@train), and the paper's counts.

    Stopped, the same command goes on, and asks a model nothing twice. What of a source cannot be used is left out,
    counted and said.
    """
    from rich.console import Console

    from askmask.build.mrseg.run import build_mrseg

    name: str = ""
    open_model: Any = None
    if clean_up and not model:
        raise SettingError("--clean-up needs a model", do="Name it: --model.")
    with ExitStack() as stack, progress_bar(console=Console(stderr=True)) as bar:
        if model:
            from askmask.build.mrseg.language import LanguageModel, open_ledger
            from askmask.vlm.opening import ModelChoice

            where: dict[str, Any] = {"base_url": base_url, "api_key_env": api_key_env, "price": price}
            choice = ModelChoice(provider=vlm, model=model, **where).placed()
            name = f"{vlm}:{choice.name}"
            limits: dict[str, Any] = {"max_usd": max_usd, "max_calls": max_calls, "concurrency": concurrency}

            def opened(folder: OutputFolder) -> LanguageModel:
                made = LanguageModel(choice, open_ledger(folder), allow_floating=allow_floating, **limits)
                return stack.enter_context(made)

            open_model = opened

        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        result = build_mrseg(
            source,
            out,
            seed=seed,
            pictures=pictures,
            limit=limit,
            model=name,
            open_model=open_model,
            clean_up=clean_up,
            on_progress=show,
        )
    for line in (out / "statistics.md").read_text(encoding="utf-8").splitlines():
        say(line)
    for line in result.left_out.lines():
        say(f"  left out: {line}", err=True)
