"""`askmask serve`: the chat page and the API of one or several models, in one process."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, say
from askmask.cli.options import Device, Dtype, ProtocolName, Yes, load_model, with_pointing
from askmask.errors import MissingExtra, SettingError

if TYPE_CHECKING:
    from askmask.session import Model

EXAMPLES = """
Serve a chat page and an API: ask pictures in words or by marks, keep sessions, take masks away.

Examples:

  askmask serve

  askmask serve -m mini -m models/mine --port 8000

  askmask serve -m point --vlm-model qwen3-vl:8b --base-url http://localhost:11434/v1

  askmask serve --host 0.0.0.0 --keys keys.txt --allow-host masks.example.org

The page is at the address that is printed, the API's description at /api. Only this machine can reach it unless --host
says otherwise, which needs keys. Sessions are kept on disk and are there again after a restart.
"""


@app.command(help=EXAMPLES)
@with_pointing
def serve(
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", help="As in `askmask segment`; several times: the first is the default."
        ),
    ] = ["mini"],  # noqa: B006  # typer's way to say the default of a list
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's own needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the sessions. Default: $XDG_DATA_HOME/askmask/serve.", show_default=False
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of keys, one a line; callers send one as Authorization: Bearer KEY."),
    ] = None,
    allow_host: Annotated[list[str], typer.Option(help="Another name under which it may be called.")] = [],  # noqa: B006
    allow_origin: Annotated[list[str], typer.Option(help="Another origin whose pages may call it.")] = [],  # noqa: B006
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch pictures from public addresses that callers name.")
    ] = False,
    label_studio_url: Annotated[
        str | None,
        typer.Option(
            help="Label Studio's address: its tasks' pictures are fetched there, with $LABEL_STUDIO_API_KEY."
        ),
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, help="MB of a request.")] = 48,
    max_pixels: Annotated[int, typer.Option(min=1, help="Million pixels of a picture.")] = 40,
    max_prompts: Annotated[int, typer.Option(min=1, help="Prompts of one call.")] = 64,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Calls that wait for a model; more are told to come again.")
    ] = 64,
    rate: Annotated[float, typer.Option(min=0, help="Calls a second for each key; 0: no limit.")] = 0,
    memory: Annotated[int, typer.Option(min=64, help="MB for pictures of sessions in use.")] = 2048,
    keep_days: Annotated[
        float, typer.Option(min=0.01, help="Sessions not used for so long are removed.")
    ] = 30,
    protocol: ProtocolName = None,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line for each request.")] = False,
    point: Any = None,
) -> None:
    """Serve."""
    import logging

    try:
        from askmask.serving.run import default_data, log_to_stderr, run
        from askmask.serving.safety import read_keys
        from askmask.serving.settings import Limits, Settings
    except ImportError as error:
        raise MissingExtra(error.name or "fastapi", "serve") from error

    settings = Settings(
        data=data or default_data(),
        host=host,
        port=port,
        keys=() if keys is None else read_keys(keys),
        hosts=tuple(allow_host),
        origins=tuple(allow_origin),
        allow_urls=allow_urls,
        label_studio_url=label_studio_url,
        label_studio_key=os.environ.get("LABEL_STUDIO_API_KEY"),
        limits=Limits(
            body_mb=max_body,
            pixels=max_pixels * 1_000_000,
            prompts=max_prompts,
            waiting=max_waiting,
            rate=rate,
            memory_mb=memory,
            keep_days=keep_days,
        ),
    )

    def opener(name: str) -> Model:
        from askmask.loading import POINT

        return load_model(
            name, protocol, device, dtype, yes, point if name == POINT or len(model) == 1 else {}
        )

    names = _served(model)
    log_to_stderr(logging.WARNING if quiet else logging.INFO)
    run(
        settings,
        {name: partial(opener, given) for name, given in names.items()},
        on_start=lambda address: say(f"askmask serves {', '.join(names)} at {address} (API: {address}/api)"),
    )


def _served(models: list[str]) -> dict[str, str]:
    """Return what each model is called: as it was given, a folder by its last name. Raises SettingError."""
    names: dict[str, str] = {}
    for given in models:
        name = Path(given).name if Path(given).is_dir() and given != "mini" else given
        if name in names:
            raise SettingError(
                "two models have the same name", got=repr(name), do="Rename one of the folders."
            )
        names[name] = given
    return names
