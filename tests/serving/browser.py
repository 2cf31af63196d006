"""A real Chromium, driven by Playwright, for tests and for the screenshots of the documentation.

The browser is the machine's own: Playwright would download one, and a page must work in what people have. Clicks and
screenshots go through the browser's own protocol, so that nothing waits for or moves to an element first.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import ElementHandle, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Return the machine's Chromium, None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Page:
    """One browser window."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.downloads = Path(self._folder.name)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        context = self._browser.new_context(no_viewport=True, accept_downloads=True)
        self.window = context.new_page()
        self._faults: list[str] = []
        self._addresses: list[str] = []
        self.window.on("console", self._hear)
        self.window.on("pageerror", lambda error: self._faults.append(str(error)))
        self.window.on("request", lambda request: self._addresses.append(request.url))
        self.window.on("websocket", lambda socket: self._addresses.append(socket.url))
        self._line = context.new_cdp_session(self.window)
        self.size(1200, 800)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self._faults.append(message.text)

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()
        self._folder.cleanup()

    # -- setting --------------------------------------------------------------------------------------------

    def cdp(self, command: str, **given):
        return self._line.send(command, given)

    def size(self, width: int, height: int, ratio: float = 1, *, mobile: bool = False) -> None:
        self.ratio = ratio
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=mobile,
        )
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def dark(self, on: bool) -> None:
        self.window.emulate_media(color_scheme="dark" if on else "light")

    def visit(self, url: str) -> None:
        self.window.goto("about:blank")
        self.faults()  # what the page before still had under way is not this one's
        self.window.goto(url)

    def go(self, url: str) -> None:
        self.visit(url)
        self.wait("return document.documentElement.dataset.ready === 'yes'")

    # -- looking --------------------------------------------------------------------------------------------

    def one(self, selector: str) -> ElementHandle:
        found = self.window.query_selector(selector)
        assert found is not None, selector
        return found

    def all(self, selector: str) -> list[ElementHandle]:
        return self.window.query_selector_all(selector)

    def text(self, selector: str) -> str:
        """The words of an element as they are seen."""
        return self.one(selector).inner_text()

    def texts(self, selector: str) -> list[str]:
        return [found.inner_text() for found in self.all(selector)]

    def run(self, script: str, *given):
        """Run the body of a function, which finds what is given in `arguments`."""
        return self.window.evaluate(f"(given) => (function () {{ {script} }}).apply(null, given)", given)

    def wait(self, script: str, *given, seconds: float = 90):
        """Wait until a script returns what is true; return it."""
        ends = time.monotonic() + seconds
        while not (found := self.run(script, *given)):
            if time.monotonic() > ends:
                raise AssertionError(f"it did not come to this: {script}\n{self.text('body')[-1500:]}")
            self.window.wait_for_timeout(50)
        return found

    def wait_rounds(self, count: int) -> None:
        """Wait until so many rounds are answered and nothing is under way."""
        self.wait(
            "return document.querySelectorAll('.round').length === arguments[0] && "
            "!document.querySelector('.waiting') && "
            "document.querySelector('#work').getAttribute('aria-busy') === 'false'",
            count,
        )

    def wait_picture(self) -> None:
        self.wait(
            "return document.body.dataset.state === 'work' && document.querySelector('#loading').hidden"
        )
        self.pause(0.1)

    def pause(self, seconds: float) -> None:
        """Wait for what is drawn in the next frames."""
        self.window.wait_for_timeout(1000 * seconds)

    def pixels(self) -> np.ndarray:
        """The window as it is seen, in the screen's own pixels."""
        shown = self.cdp("Page.captureScreenshot", format="png", optimizeForSpeed=True)
        picture = Image.open(io.BytesIO(base64.b64decode(shown["data"])))
        return np.asarray(picture.convert("RGB")).astype(np.int16)

    def faults(self) -> list[str]:
        """Errors and warnings of the console, and errors nobody caught, since the last call."""
        found, self._faults = self._faults, []
        return found

    def addresses(self) -> list[str]:
        """What was asked of the network since the last call."""
        found, self._addresses = self._addresses, []
        return found

    # -- doing ----------------------------------------------------------------------------------------------

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        button = {"button": "left", "clickCount": 1} if kind != "mouseMoved" or more.get("buttons") else {}
        self.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, **(button | more))

    def click_at(self, x: float, y: float, **more) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, **more)

    def drag(self, places: list[tuple[float, float]]) -> None:
        self.mouse("mouseMoved", *places[0])
        self.mouse("mousePressed", *places[0])
        for place in places[1:]:
            self.mouse("mouseMoved", *place, buttons=1)
        self.mouse("mouseReleased", *places[-1])

    def wheel(self, x: float, y: float, delta: float) -> None:
        self.cdp("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a keyboard does: Enter, a, Control+z."""
        for key in keys:
            self.window.keyboard.press(key)

    def type(self, text: str) -> None:
        self.window.keyboard.insert_text(text)

    def ask(self, text: str) -> None:
        self.run("document.querySelector('#prompt').focus()")
        self.type(text)
        self.press("Enter")

    def choose_file(self, selector: str, path: Path) -> None:
        self.one(selector).set_input_files(str(path))

    def download(self, script: str) -> Path:
        """Run a script that begins a download; return the file."""
        with self.window.expect_download(timeout=20_000) as waiting:
            self.run(script)
        path = self.downloads / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path
