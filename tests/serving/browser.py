"""A real Chromium for tests and for the screenshots of the documentation."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_paths() -> tuple[str, str] | None:
    """Return Chromium and its driver, None where one is not installed."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Page:
    """One browser window."""

    def __init__(self) -> None:
        paths = browser_paths()
        assert paths is not None
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.downloads = Path(self._folder.name) / "downloads"
        self.downloads.mkdir()
        options = Options()
        options.binary_location = paths[0]
        for flag in (*FLAGS, f"--user-data-dir={self._folder.name}/profile"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(paths[1]))
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        self.size(1200, 800)

    def close(self) -> None:
        self.driver.quit()
        self._folder.cleanup()

    # -- setting --------------------------------------------------------------------------------------------

    def cdp(self, command: str, **given):
        return self.driver.execute_cdp_cmd(command, given)

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
        value = "dark" if on else "light"
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def go(self, url: str) -> None:
        self.driver.get("about:blank")
        self.faults()  # what the page before still had under way is not this one's
        self.driver.get(url)
        self.wait("return document.documentElement.dataset.ready === 'yes'")

    # -- looking --------------------------------------------------------------------------------------------

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *given):
        return self.driver.execute_script(script, *given)

    def wait(self, script: str, *given, seconds: float = 90):
        """Wait until a script returns what is true; return it."""
        ends = time.monotonic() + seconds
        while not (found := self.run(script, *given)):
            if time.monotonic() > ends:
                raise AssertionError(f"it did not come to this: {script}\n{self.one('body').text[-1500:]}")
            time.sleep(0.05)
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
        self.run("return new Promise(requestAnimationFrame)")
        time.sleep(0.1)

    def pixels(self) -> np.ndarray:
        """The window as it is seen, in the screen's own pixels."""
        data = base64.b64decode(self.cdp("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def faults(self) -> list[str]:
        """Errors and warnings of the console since the last call."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def addresses(self) -> list[str]:
        """What was asked of the network since the last call."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
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

    def press(self, *keys: str, modifiers: int = 0) -> None:
        """Press keys one after the other, as a keyboard does: names such as Enter, or single letters."""
        codes = {
            "Enter": 13,
            "Tab": 9,
            "Escape": 27,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }
        for key in keys:
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            code = codes.get(key, ord(key.upper()[0]))
            given = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
            shown = {"text": text} if text and not modifiers & 2 else {}
            self.cdp("Input.dispatchKeyEvent", type="keyDown", **given, **shown)
            self.cdp("Input.dispatchKeyEvent", type="keyUp", **given)

    def type(self, text: str) -> None:
        self.cdp("Input.insertText", text=text)

    def ask(self, text: str) -> None:
        self.run("document.querySelector('#prompt').focus()")
        self.type(text)
        self.press("Enter")

    def drop_file(self, selector: str, path: Path) -> None:
        self.one(selector).send_keys(str(path))
