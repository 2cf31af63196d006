"""A server's life: killed at any moment it loses no finished round; told to stop it finishes; one to a folder."""

import random
import signal
import threading
import time

import httpx
import pytest

from tests.serving.conftest import Server, colour_server


def load(server, sessions, kept, stop):
    """Ask in sessions until the server is gone; note what was answered."""
    client = httpx.Client(base_url=server.url, timeout=120)
    colours = ("red", "green", "blue")
    number = 0
    while not stop.is_set():
        session = random.choice(sessions)
        number += 1
        try:
            asked = client.post(
                f"/v1/sessions/{session}/rounds", json={"text": f"{colours[number % 3]} {number}"}
            )
        except httpx.HTTPError:
            return
        if asked.status_code == 200:
            [round] = asked.json()["rounds"]
            kept.append((session, round["id"], round["prompt"]["text"], round["segments"]))


def test_no_finished_round_is_lost_by_kill_9(tmp_path):
    kept: list = []
    sessions: list = []
    for target in (9, 23, 41):
        with colour_server(tmp_path, "--delay", "0.005") as server:
            if not sessions:
                sessions = [server.open(n) for n in range(4)]
            stop = threading.Event()
            threads = [threading.Thread(target=load, args=(server, sessions, kept, stop)) for _ in range(4)]
            for thread in threads:
                thread.start()
            while len(kept) < target and any(thread.is_alive() for thread in threads):
                time.sleep(random.uniform(0, 0.01))
            server.stop(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
    assert len(kept) >= 41
    with colour_server(tmp_path) as server:
        found = {}
        for session in sessions:
            for round in server.client.get(f"/v1/sessions/{session}").json()["rounds"]:
                found[session, round["id"]] = (round["prompt"]["text"], round["segments"])
        for session, name, text, segments in kept:
            assert found[session, name] == (text, segments)
        # At most what was under way at each kill is there without having been answered.
        assert len(found) <= len(kept) + 3 * 4
        assert server.ask(sessions[0], "red").status_code == 200


def test_told_to_stop_it_finishes_what_it_has_and_takes_no_more(tmp_path):
    with colour_server(tmp_path) as server:
        session = server.open()
        later = server.client.post(f"/v1/sessions/{session}/rounds?wait=0", json={"text": "red, wait 1 s"})
        assert later.status_code == 202
        answered = []
        client = httpx.Client(base_url=server.url, timeout=120)
        waiting = threading.Thread(
            target=lambda: answered.append(
                client.post(f"/v1/sessions/{session}/rounds", json={"text": "blue"}).status_code
            )
        )
        waiting.start()
        time.sleep(0.3)
        assert server.stop(signal.SIGTERM) == 0
        waiting.join()
        assert answered == [200]
    with colour_server(tmp_path) as server:
        rounds = server.client.get(f"/v1/sessions/{session}").json()["rounds"]
        assert [r["prompt"]["text"] for r in rounds] == ["red, wait 1 s", "blue"]
        key = {"idempotency-key": "k"}
        url = f"/v1/sessions/{session}/rounds"
        first = server.client.post(url, json={"text": "green"}, headers=key).json()
    with colour_server(tmp_path) as server:
        again = server.client.post(url, json={"text": "green"}, headers=key).json()
        assert again == first, "done once, also across a restart"
        undone = server.client.post(f"/v1/sessions/{session}/undo").json()
        assert undone["order"] == ["r1", "r2"]


def test_two_servers_do_not_share_a_folder(tmp_path):
    command = ["tests.serving.colour_server", "--data", str(tmp_path)]
    with colour_server(tmp_path), pytest.raises(RuntimeError, match="another run is writing"):
        Server(command)


def test_a_port_in_use_is_said_with_what_to_do(tmp_path, colours):
    port = colours.url.rsplit(":", 1)[1]
    command = ["tests.serving.colour_server", "--data", str(tmp_path), "--port", port]
    with pytest.raises(RuntimeError, match=f"port {port}, cannot be listened at.*another --port"):
        Server(command)


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RuntimeError, match="neither empty nor made by"):
        Server(["tests.serving.colour_server", "--data", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
