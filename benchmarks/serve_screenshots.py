"""Draw the pictures of docs/serving.md: the chat page in a real browser, answered by `mini`.

    python benchmarks/serve_screenshots.py [--out docs/images]

Needs Chromium (and Playwright: extra `[test]`). Writes serve-start.jpg, serve-chat.jpg, serve-dark.jpg and
serve-phone.jpg.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image
from serve_load import ROOT, Server

sys.path.insert(0, str(ROOT))
from tests.serving.browser import Page

QUALITY = 82


def take(page: Page, path: Path, width: int | None = None) -> None:
    """Write what is seen as a JPEG."""
    page.pause(0.4)
    picture = Image.fromarray(page.pixels().astype("uint8"))
    if width is not None:
        picture = picture.resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    picture.save(path, quality=QUALITY, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def watch(page: Page, url: str) -> None:
    """Open the example conversation and let it end."""
    page.go(url)
    page.run("document.querySelector('#watch').click()")
    page.wait_rounds(5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    page = Page()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", "--quiet")
        try:
            page.size(1280, 800, 1.5)
            page.go(server.url)
            page.wait("return [...document.images].every((one) => one.complete)")
            take(page, out / "serve-start.jpg", 1280)

            watch(page, server.url)
            page.run(
                "document.querySelectorAll('.round')[4].querySelector('[title=\"Remove the round\"]').click()"
            )
            page.wait_rounds(4)
            page.run(
                "document.querySelectorAll('.round')[3].querySelector('[title=\"Remove the round\"]').click()"
            )
            page.wait_rounds(3)
            page.run("document.querySelector('[data-segment=m4]').click()")
            page.run("document.querySelector('[data-segment=m4]').dispatchEvent(new Event('mouseenter'))")
            page.run("document.querySelector('#prompt').focus()")
            take(page, out / "serve-chat.jpg", 1280)

            page.dark(True)
            page.press("Escape")  # about the whole picture again
            page.ask("the orange ball")
            page.wait_rounds(4)
            take(page, out / "serve-dark.jpg", 1280)
            page.dark(False)

            page.size(390, 844, 2, mobile=True)
            page.run("document.querySelectorAll('.round')[2].scrollIntoView()")
            take(page, out / "serve-phone.jpg", 390)
        finally:
            server.stop()
            page.close()


if __name__ == "__main__":
    main()
