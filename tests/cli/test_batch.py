"""`askmask batch`: resumes, isolates failures, and says what failed."""

import json
import os
import shutil
import signal

import pytest
from PIL import Image

from askmask.batch import read_items
from tests import warm


@pytest.fixture
def folder(picture_path, tmp_path):
    pictures = tmp_path / "pictures"
    for name in ("a.png", "sub/b.png", "c.png"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture_path, pictures / name)
    return pictures


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_with_a_damaged_picture(askmask, tiny_folder, folder, tmp_path):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    arguments = [
        "batch",
        folder,
        "--prompt",
        "ball",
        "--prompt",
        "box",
        "-m",
        tiny_folder,
        "-o",
        "out",
        "--overlays",
    ]
    ran = askmask(*arguments)
    assert ran.code == 1
    results = rows(tmp_path / "out" / "results.jsonl")
    assert len(results) == 6
    assert {(r["prompt"], r["image"].rsplit("/", 1)[1]) for r in results} == {
        (prompt, name) for prompt in ("ball", "box") for name in ("a.png", "b.png", "c.png")
    }
    failed = rows(tmp_path / "out" / "failed.jsonl")
    assert len(failed) == 2 and "damaged" in failed[0]["reason"] and "broken.png" in ran.err
    assert len(list((tmp_path / "out").glob("overlay-*.png"))) == 6
    # mended: only what failed is asked again
    shutil.copy(folder / "a.png", folder / "broken.png")
    ran = askmask(*arguments)
    assert ran.code == 0
    assert "6 of 8 were answered before" in ran.err
    assert len(rows(tmp_path / "out" / "results.jsonl")) == 8
    assert not (tmp_path / "out" / "failed.jsonl").read_text()


def test_overlays_asked_for_later_are_drawn_of_what_was_answered_before(
    askmask, tiny_folder, folder, tmp_path
):
    call = ["batch", folder, "--prompt", "ball", "-m", tiny_folder, "-o", "out"]
    assert askmask(*call).code == 0
    before = (tmp_path / "out/results.jsonl").read_bytes()
    (folder / "c.png").write_bytes(b"")
    ran = askmask(*call, "--overlays")
    assert "other bytes" in ran.err  # a picture that changed is another question
    shutil.copy(folder / "a.png", folder / "c.png")
    assert askmask(*call, "--overlays").code == 0
    drawn = sorted((tmp_path / "out").glob("overlay-*.png"))
    assert len(drawn) == 3 and (tmp_path / "out/results.jsonl").read_bytes() == before
    assert askmask(*call[:-1], "fresh", "--overlays").code == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "fresh").glob("overlay-*.png"))] == [
        path.read_bytes() for path in drawn
    ]


def test_paths_as_windows_writes_them_are_read(askmask, tiny_folder, folder, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"image": "pictures\\sub\\b.png", "prompt": "ball"}) + "\n")
    ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out")
    assert ran.code == 0, ran.err


def test_what_a_user_should_know_of_the_answers_is_said(askmask, folder, tmp_path):
    Image.effect_noise((90, 60), 99).save(folder / "a.png")
    ran = askmask("batch", folder, "--prompt", "the mug", "-o", "out", "--device", "cpu")
    assert "answers: this picture is unlike" in ran.err


def test_jsonl_rows_that_cannot_be_used_are_listed(askmask, tiny_folder, folder, tmp_path):
    lines = [
        {"image": "pictures/a.png", "prompt": "ball", "id": "one"},
        {"image": "pictures/a.png", "prompt": ""},
        {"image": "pictures/nowhere.png", "prompt": "ball"},
        {"image": "pictures/c.png"},
        {"image": "pictures/c.png", "prompt": "ball", "id": "one"},  # the id again, on another picture
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out")
    assert ran.code == 1
    assert [r["id"].split("#")[0] for r in rows(tmp_path / "out" / "results.jsonl")] == ["one", "one"]
    for said in ("line 4", "nowhere.png", "the prompt is empty"):
        assert said in ran.err


def test_one_bad_prompt_does_not_cost_its_neighbours(askmask, tiny_folder, folder, tmp_path):
    lines = [{"image": "pictures/a.png", "prompt": prompt} for prompt in ("ball", "word " * 300, "box")]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out")
    assert ran.code == 1
    assert [r["prompt"] for r in rows(tmp_path / "out" / "results.jsonl")] == ["ball", "box"]


def test_another_model_does_not_mix_into_the_results(askmask, tiny_folder, folder):
    assert askmask("batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out").code == 0
    ran = askmask("batch", folder, "--prompt", "x", "-m", tiny_folder, "-p", "published-demo", "-o", "out")
    assert ran.code == 2 and "Choose another --out" in ran.err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.mkdir(), "no pictures"),
        (lambda p: p.write_text(""), "no rows"),
        (lambda p: p.write_text("nonsense\n"), "line 1: not JSON"),
        (lambda p: None, "no such file"),
    ],
)
def test_sources_that_hold_nothing(askmask, tmp_path, make, said):
    make(tmp_path / "source")
    ran = askmask("batch", "source", "--prompt", "x")
    assert ran.code == 2 and said in ran.err


def test_equal_rows_are_asked_once(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"image": "a.png", "prompt": "x"}\n' * 3)
    items, bad = read_items(tmp_path / "q.jsonl")
    assert len(items) == 1 and bad == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_and_started_again_gives_every_answer_once(tiny_folder, picture_path, tmp_path):
    (tmp_path / "q.jsonl").write_text(
        "\n".join(json.dumps({"image": str(picture_path), "prompt": f"thing number {n}"}) for n in range(80))
    )
    command = ["batch", "q.jsonl", "-m", tiny_folder, "-o", "out"]
    results = tmp_path / "out" / "results.jsonl"
    process = warm.start(*command, cwd=tmp_path)
    warm.until(
        lambda: process.poll() is not None or (results.exists() and results.read_bytes().count(b"\n") > 5)
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = results.read_bytes().count(b"\n")
    assert 5 < before
    done = warm.run(*command, cwd=tmp_path)
    ids = [row["id"] for row in rows(results)]
    assert len(ids) == len(set(ids)) == 80
    assert before == 80 or f"{before} of 80 were answered before" in done.stderr


def test_another_folder_or_other_weights_do_not_pass_for_done(askmask, tiny_folder, folder, tmp_path):
    """Cameras name pictures alike: what was answered for one folder says nothing about the next."""
    from askmask.model.tiny import make_tiny

    arguments = ["--prompt", "x", "-o", "out", "-m"]
    assert askmask("batch", folder, *arguments, tiny_folder).code == 0
    folder.rename(tmp_path / "yesterday")
    shutil.copytree(tmp_path / "yesterday", tmp_path / "today")
    ran = askmask("batch", "today", *arguments, tiny_folder)
    assert ran.code == 2 and "another source" in ran.err and "Choose another --out" in ran.err
    (tmp_path / "yesterday").rename(folder)
    ran = askmask("batch", folder, *arguments, make_tiny(tmp_path / "net", seed=1))
    assert ran.code == 2 and "another weights" in ran.err


def test_an_id_with_another_prompt_is_not_taken_for_answered(askmask, tiny_folder, folder, tmp_path):
    for prompt, code in (("ball", 0), ("ball", 0), ("box", 2)):
        (tmp_path / "q.jsonl").write_text(
            json.dumps({"image": "pictures/a.png", "prompt": prompt, "id": "7"})
        )
        ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out")
        assert ran.code == code
    assert "'7' with another prompt" in ran.err


def test_no_row_of_a_stranger_stops_the_others(askmask, tiny_folder, folder, tmp_path):
    long = "é" * 110
    shutil.copy(folder / "a.png", folder / f"{long}.png")
    lines = [
        '{"image": "pictures/a.png", "prompt": "lone \\ud800 surrogate"}',
        json.dumps({"image": "n" * 400 + ".png", "prompt": "x"}),
        json.dumps({"image": "n" * 5000, "prompt": "x"}),
        "nonsense",
        "[1]",
        json.dumps({"image": f"pictures/{long}.png", "prompt": "x"}),
        json.dumps({"image": "pictures/c.png", "prompt": "x"}),
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out", "--overlays")
    assert ran.code == 1
    assert [r["image"][-5:] for r in rows(tmp_path / "out" / "results.jsonl")] == ["é.png", "c.png"]
    reasons = [row["reason"] for row in rows(tmp_path / "out" / "failed.jsonl")]
    for said in ("not JSON", "not a JSON object", "bytes that are not text", "cannot be read", "a path is"):
        assert any(said in reason for reason in reasons), said


def test_two_runs_do_not_write_into_one_folder(askmask, tiny_folder, folder, tmp_path):
    import askmask as package
    from askmask.batch import run_batch

    items, _ = read_items(folder, ["x"])
    model = package.load(tiny_folder, device="cpu")
    first = run_batch(model, items, tmp_path / "out", source=folder)
    next(first)
    ran = askmask("batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out")
    assert ran.code == 2 and "another run is writing" in ran.err
    first.close()
    assert askmask("batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out").code == 0


@pytest.mark.parametrize("name", ["run.json", "results.jsonl", "failed.jsonl"])
def test_an_out_folder_of_others_is_left_as_it_is(askmask, tiny_folder, folder, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"my": "precious"}')
    ran = askmask("batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out")
    assert ran.code == 2 and "Choose another --out" in ran.err and ran.err.count("\n") == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == '{"my": "precious"}'


@pytest.mark.parametrize("text", ["garbage\n", "{}\n", '{"id": 1, "prompt": "x"}\n'])
def test_results_that_are_none_are_one_clear_line(askmask, tiny_folder, folder, tmp_path, text):
    arguments = ["batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out"]
    assert askmask(*arguments).code == 0
    (tmp_path / "out" / "results.jsonl").write_text(text)
    ran = askmask(*arguments)
    assert ran.code == 2 and "results.jsonl, line 1: not" in ran.err.splitlines()[-1]


def test_its_own_output_is_not_asked_again(askmask, tiny_folder, folder, tmp_path, monkeypatch):
    """The default folder lies among the pictures, and so may those of other commands."""
    assert (
        askmask("segment", folder / "a.png", "x", "-m", tiny_folder, "-o", folder / "sub" / "masks").code == 0
    )
    for _ in range(2):
        ran = askmask(
            "batch", folder, "--prompt", "x", "-m", tiny_folder, "--overlays", "-o", folder / "answers"
        )
        assert ran.code == 0
        assert len(rows(folder / "answers" / "results.jsonl")) == 3


def test_a_picture_that_changed_is_not_taken_for_answered(askmask, tiny_folder, folder, tmp_path):
    arguments = ["batch", folder, "--prompt", "x", "-m", tiny_folder, "-o", "out"]
    assert askmask(*arguments).code == 0
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    stat = (folder / "a.png").stat()
    data = bytearray((folder / "a.png").read_bytes())
    data[-1] ^= 1
    (folder / "a.png").write_bytes(data)
    os.utime(folder / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    ran = askmask(*arguments)
    assert ran.code == 2 and "with another picture" in ran.err and "a.png" in ran.err
    (folder / "a.png").unlink()  # what is gone contradicts nothing
    assert askmask(*arguments).code == 0
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_a_row_does_not_inherit_the_answer_of_one_that_was_deleted(askmask, tiny_folder, folder, tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "c.png")
    both = [{"image": f"pictures/{name}.png", "prompt": "ball", "id": "7"} for name in "ac"]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, both)))
    assert askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out").code == 0
    (tmp_path / "q.jsonl").write_text(json.dumps(both[1]))
    ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "out")
    assert ran.code == 2 and "'7' with another picture" in ran.err


def test_a_prompt_given_twice_is_asked_once(askmask, tiny_folder, folder, tmp_path):
    ran = askmask("batch", folder, "--prompt", "ball", "--prompt", "ball", "-m", tiny_folder, "-o", "out")
    ids = [row["id"] for row in rows(tmp_path / "out" / "results.jsonl")]
    assert ran.code == 0 and len(ids) == len(set(ids)) == 3
