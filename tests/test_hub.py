"""Fetching a release: a real HTTP server on loopback that speaks the Hub's protocol."""

import hashlib
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from askmask.errors import AskMaskError, CheckpointError
from askmask.hub import fetch_weights
from tests import warm

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOS = {"aadarsh99/ConverSeg-Net-3B": "release", "Qwen/Qwen2.5-VL-3B-Instruct": "vlm"}


class Hub(BaseHTTPRequestHandler):
    """Two repositories of one commit each, from folders; counts requests and can break off downloads."""

    protocol_version = "HTTP/1.1"
    folders: dict[str, Path]
    asked: list[str]
    break_after: int | None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path).strip("/")
        self.asked.append(f"{self.command} {path}")
        for repo, folder in self.folders.items():
            files = sorted(p for p in folder.rglob("*") if p.is_file())
            names = [p.relative_to(folder).as_posix() for p in files]
            if path.startswith(f"api/models/{repo}"):
                if "/tree/" in path:
                    rows = [
                        {"type": "file", "path": n, "size": p.stat().st_size, "oid": etag(p)}
                        for n, p in zip(names, files, strict=True)
                    ]
                    return self.send_json(rows)
                return self.send_json(
                    {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
                )
            if path.startswith(f"{repo}/resolve/{COMMIT}/"):
                return self.send_file(folder / path.removeprefix(f"{repo}/resolve/{COMMIT}/"))
        self.send_error(404)

    def send_json(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, path):
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            if self.break_after is not None and len(data) - start > self.break_after:
                self.wfile.write(data[start : start + self.break_after])
                self.close_connection = True
                return
            self.wfile.write(data[start:])


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(golden, release):
    handler = type("Handler", (Hub,), {"asked": [], "break_after": None})
    handler.folders = {
        "aadarsh99/ConverSeg-Net-3B": release,
        "Qwen/Qwen2.5-VL-3B-Instruct": golden / "tiny_qwen",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


def run(code: str, hub, tmp_path, **env) -> subprocess.CompletedProcess:
    """A process that imports the Hub's library anew: it reads its settings then.

    That of transformers stays as the tests have it, offline: of base weights only what we fetch may come.
    """
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "ASKMASK_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return warm.run(code=ANEW + code, env=settings | env)


ANEW = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]
"""
LOAD = "import askmask; m = askmask.load('converseg-net-3b', device='cpu'); print(m.name, m.backend.protocol_name)"


@pytest.mark.slow
def test_fetched_converted_once_and_then_offline(hub, tmp_path):
    first = run(LOAD, hub, tmp_path)
    assert first.stdout == "converseg-net-3b published-eval\n", first.stderr
    assert "huggingface.co/aadarsh99/ConverSeg-Net-3B" in first.stderr
    assert "Check the licence" in first.stderr
    folder = tmp_path / "cache" / "converseg-net-3b" / COMMIT
    assert COMMIT in json.loads((folder / "card.json").read_text())["provenance"]["origin"]
    assert not any("safetensors" in request for request in hub.asked if "Qwen" in request)  # no base weights
    hub.asked.clear()
    second = run(LOAD, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert second.stdout == first.stdout
    assert hub.asked == [] and "licence" not in second.stderr
    by_branch = LOAD.replace("device=", "revision='main', device=")
    assert run(by_branch, hub, tmp_path).stdout == first.stdout  # the same commit: not converted again


KILLED = """
import os, signal
import askmask.model.published as published
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
published.write_checkpoint = killed
import askmask
askmask.load('converseg-net-3b', device='cpu')
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_conversion_that_was_killed_is_done_again(hub, tmp_path):
    assert run(KILLED, hub, tmp_path).returncode < 0
    folder = tmp_path / "cache" / "converseg-net-3b" / COMMIT
    assert list(folder.rglob("tokenizer_config.json")), "it must have been killed in the middle"
    again = run(LOAD, hub, tmp_path)
    assert again.stdout == "converseg-net-3b published-eval\n", again.stderr
    assert not [p for p in folder.iterdir() if p.name.endswith(".tmp")]


@pytest.mark.slow
def test_a_broken_download_is_told_and_resumed(hub, tmp_path):
    hub.break_after = 200_000
    broken = run(LOAD, hub, tmp_path)
    assert broken.returncode != 0
    assert "could not fetch aadarsh99/ConverSeg-Net-3B" in broken.stderr.splitlines()[-1]
    assert not list((tmp_path / "cache").rglob("card.json"))
    hub.break_after = None
    assert run(LOAD, hub, tmp_path).stdout.startswith("converseg-net-3b")


def test_without_network_and_cache_the_error_says_what_to_do():
    import askmask

    with pytest.raises(askmask.AskMaskError, match=r"could not fetch .* convert-published"):
        askmask.load("converseg-net-3b", confirm=lambda notice: "licence" in notice)


def test_a_person_may_decline():
    import askmask

    with pytest.raises(askmask.AskMaskError, match="as you chose"):
        askmask.load("converseg-net-3b", confirm=lambda notice: False)


class TestWeights:
    """Models of transformers by Hub name: never fetched unasked."""

    @pytest.fixture
    def cached(self, tmp_path, monkeypatch):
        """A Hub whose cache holds an unfinished download of me/half, and which records what is fetched."""
        import huggingface_hub

        half = tmp_path / "half"
        half.mkdir()
        (half / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'
        )
        (half / "1.safetensors").write_bytes(b"x")
        fetched = []

        def snapshot(repo, *, local_files_only=False, **more):
            if not local_files_only:
                fetched.append(repo)
                (half / "2.safetensors").write_bytes(b"x")
            elif repo != "me/half":
                raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
            return str(half)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
        return fetched

    def test_a_folder_is_itself(self, tmp_path, cached):
        assert fetch_weights(str(tmp_path)) == tmp_path and not cached

    @pytest.mark.parametrize("name", ["me/absent", "me/half"])
    def test_nothing_is_fetched_without_a_yes(self, cached, name):
        with pytest.raises(CheckpointError, match="--yes"):
            fetch_weights(name)
        with pytest.raises(AskMaskError, match="as you chose"):
            fetch_weights(name, confirm=lambda notice: "licence" not in notice)
        assert not cached

    def test_a_yes_fetches_once(self, cached):
        folder = fetch_weights("me/half", confirm=lambda _: True)
        assert fetch_weights("me/half") == folder and cached == ["me/half"]
