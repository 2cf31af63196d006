"""Real servers in processes of their own, and pictures to ask them about."""

import base64
import contextlib
import io
import signal
import subprocess
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import warm
from tests.conftest import ROOT

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
BOXES = {"red": (4, 3, 12, 11), "green": (16, 8, 24, 20), "blue": (30, 2, 38, 12)}  # x0, y0, x1, y1
SIZE = (32, 48)


def picture(seed: int = 0, scale: int = 1) -> bytes:
    """A PNG with one rectangle of each colour on grey; `seed` changes one pixel, `scale` enlarges it."""
    rgb = np.full((*SIZE, 3), 128, np.uint8)
    for name, (x0, y0, x1, y1) in BOXES.items():
        rgb[y0:y1, x0:x1] = COLOURS[name]
    rgb[-1, -1] = (seed % 256, seed // 256, 7)
    buffer = io.BytesIO()
    Image.fromarray(rgb.repeat(scale, 0).repeat(scale, 1)).save(buffer, format="PNG")
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


class Server:
    """A server process; `url` is where it listens, `log` what it wrote to stderr so far."""

    def __init__(self, command: list[str]):  # a module and the words after it
        module, *words = command
        run_it = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        self.process = warm.start(*words, code=run_it, cwd=ROOT)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        first = self.process.stdout.readline()
        if not first:
            self.process.wait()
            self._reader.join()
            raise RuntimeError("\n".join(self._lines))
        self.url = next(word for word in first.split() if word.startswith("http")).rstrip(":")
        self.client = httpx.Client(base_url=self.url, timeout=300)

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_ready(self) -> "Server":
        for _ in range(3000):
            if self.client.get("/ready").status_code == 200:
                return self
            time.sleep(0.1)
        raise RuntimeError(self.log)

    def stop(self, how: int = signal.SIGTERM, seconds: float = 300) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            raise
        finally:
            self.client.close()

    def open(self, seed: int = 0, **fields) -> str:
        """Open a session over a picture of colours; return its id."""
        made = self.client.post("/v1/sessions", json={"picture": {"data": data_url(picture(seed))}, **fields})
        assert made.status_code == 201, made.text
        return made.json()["id"]

    def ask(self, session: str, text: str = "", **fields) -> httpx.Response:
        return self.client.post(f"/v1/sessions/{session}/rounds", json={"text": text, **fields})


@contextlib.contextmanager
def colour_server(data, *options: str):
    """Run the colour server with options until the block ends."""
    server = Server(["tests.serving.colour_server", "--data", str(data), *options])
    try:
        yield server.wait_ready()
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A server of two colour models that tests share: each opens its own sessions."""
    options = ("--models", "colours,second", "--limit", "beat_s=0.2")
    with colour_server(tmp_path_factory.mktemp("colours"), *options) as server:
        yield server


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """`askmask serve` as a user starts it."""
    data = tmp_path_factory.mktemp("serve")
    server = Server(["askmask", "serve", "--port", "0", "--data", str(data)])
    yield server.wait_ready()
    server.stop()
