"""`askmask world oracle`: a VLM that knows the simulated scenes, behind OpenAI's protocol on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import say
from askmask.cli.world import world


@world.command(
    epilog="Example: askmask world oracle --data truth --pictures photos --errors verdict=0.1,json=0.02"
)
def oracle(
    data: Annotated[
        Path, typer.Option(help="Folder of `askmask world make`; with --dense it starts at once.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    errors: Annotated[str, typer.Option(help="Rates of mistakes: verdict=0.1,json=0.02,...")] = "",
    latency: Annotated[float, typer.Option(min=0, help="Seconds before every reply.")] = 0.0,
    slow: Annotated[float, typer.Option(min=0, help="Seconds more for a reply that is late.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of the mistakes.")] = 0,
    most: Annotated[int | None, typer.Option(min=1, help="Know only so many pictures.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Write the pictures there, as PNG.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Variable with a key to demand.")] = None,
    log: Annotated[Path | None, typer.Option(help="JSON lines: every request and its outcome.")] = None,
) -> None:
    """Answer the data engine from truth, as model `oracle-1` at http://127.0.0.1:PORT/v1.

    Mistakes of the answer: missed, attribute, box, satisfying, context, negative, false_accept, false_reject, choice
    (`verdict` sets both false ones). Faults of the reply: json, truncate, refuse, safety, rate_limit, server, drop,
    slow.
    """
    from itertools import islice

    from PIL import Image

    from askmask.errors import MissingExtra, SettingError

    try:
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtra("scipy", "engine") from error
    from askmask.runs.manifest import output_folder
    from askmask.world.oracle import Errors, Gallery, Oracle, read_truth
    from askmask.world.oracle_server import OracleServer

    api_key = os.environ.get(api_key_env) if api_key_env else None
    if api_key_env and not api_key:
        raise SettingError(
            f"the variable {api_key_env} holds no key", do="Set it, or leave --api-key-env out."
        )
    gallery = Gallery(list(islice(read_truth(data), most)))
    if pictures is not None:
        with (
            output_folder(pictures, "askmask world oracle", {}, option="--pictures") as out,
            out.anew() as fresh,
        ):
            for number, scene in enumerate(gallery.scenes):
                Image.fromarray(scene.rgb).save(fresh / f"scene-{number:05d}.png")
    truth = Oracle(gallery, Errors.parse(errors), seed)
    server = OracleServer(truth, port, latency_s=latency, slow_s=slow, api_key=api_key, log=log)
    say(f"oracle-1 knows {len(gallery.scenes)} pictures at {server.address}")
    try:
        server.serve_forever()
    finally:
        server.server_close()
        say(", ".join(f"{count} {name}" for name, count in sorted(server.outcomes.items())), err=True)
