"""A conversation line by line: what is said, what is drawn, and that all of it is on disk before the next line."""

import json

import numpy as np
import pytest

from askmask import Mask, Round, Session
from askmask.chat.kept import opened
from askmask.chat.lines import Line, line_of, read_script
from askmask.chat.talk import COMMANDS, Talk
from askmask.conversation import Prompt, Segment
from askmask.errors import AskMaskError, DataError, PromptError, SettingError
from askmask.imaging.files import read_mask_pixels, read_picture
from askmask.imaging.overlay import draw
from tests.evaluation.colour_model import COLOURS, ColourModel

LEFT = np.zeros((24, 32), bool)
LEFT[4:12, 2:8] = True


@pytest.fixture
def picture():
    rgb = np.full((24, 32, 3), 128, np.uint8)
    rgb[LEFT], rgb[LEFT[:, ::-1]] = COLOURS["red"], COLOURS["blue"]
    return read_picture(rgb)


@pytest.fixture
def talk(picture, tmp_path):
    said = []
    with opened(tmp_path / "talk", ColourModel(), picture, resume=False) as kept:
        talk = Talk(kept, said.append, lambda piece: said.append(f"...{piece}"))
        talk.said, talk.root = said, tmp_path / "talk"
        yield talk


def run(talk, *lines):
    """Do lines as the command does; return what was said after the last."""
    for line in lines:
        talk.said.clear()
        talk.take(Line(line))
        talk.kept.write()
    return "\n".join(talk.said)


def test_an_answer_is_told_drawn_and_on_disk(talk, picture):
    said = run(talk, "the red thing")
    assert said.splitlines()[0] == "...the red part"  # words as they come
    assert "r1  1 segment, colours" in said and "m1: box 2 4 8 12" in said
    drawn = read_picture(talk.root / "r1.png").rgb
    assert str(talk.root / "r1.png") in said and drawn.shape[1] >= 32
    saved = json.loads((talk.root / "conversation.json").read_text())
    assert Session.from_dict(saved, ColourModel(), picture).rounds == talk.kept.session.rounds
    assert "nothing found" in run(talk, "the purple thing") and (talk.root / "r2.png").is_file()


def test_a_drawing_shows_no_score_of_what_was_marked(talk, monkeypatch):
    drawn = []
    monkeypatch.setattr(type(talk.kept.session.model), "score_trained", True, raising=False)
    monkeypatch.setattr(
        "askmask.chat.kept.draw", lambda rgb, layers: drawn.append(layers) or draw(rgb, layers)
    )
    run(talk, "the red thing")
    marked = Segment(mask=Mask.from_array(LEFT), source="predicted", score=0.77)
    talk.kept.session.take(Round(prompt=Prompt(points=((4.0, 6.0, True),)), segments=(marked,)))
    run(talk, ":show")
    assert [layer.note for layer in drawn[-1]] == ["0.90", "predicted"]


def test_undo_takes_back_a_refresh_as_one_change(talk):
    run(talk, "the red thing", "that again, m1", "that again, m2", ":edit r1 the blue thing")
    before = run(talk, ":stale"), talk.kept.session.rounds
    assert run(talk, ":refresh").endswith("nothing is stale")
    run(talk, ":undo")
    assert (run(talk, ":stale"), talk.kept.session.rounds) == before and "r2, r3" in before[0]


def test_segments_of_one_name_are_told_apart(talk):
    talk.kept.session.take(
        Round.of("the mugs", [Mask.from_array(LEFT), Mask.from_array(LEFT[:, ::-1])], source="predicted")
    )
    for one in ("m1", "m2"):
        talk.kept.session.rename(one, "mug")
    said = run(talk, ":show")
    assert "m1 mug (1 of 2), m2 mug (2 of 2)" in said
    talk.kept.session.rename("m2", "cup")
    assert "m1 mug, m2 cup" in run(talk, ":show")


def test_words_may_be_left_out(talk, picture, tmp_path):
    asked = []
    inner = talk.kept.session.model.backend.answer

    def answer(prompts, keep):
        asked.append(keep.words)
        return inner(prompts, keep)

    talk.kept.session.model.backend.answer = answer
    run(talk, "the red thing")
    talk.words = False
    run(talk, "the blue thing", ":edit r2 the red thing")
    assert asked == [True, False, False]


def test_references_are_told_with_their_reason(talk):
    said = run(talk, "the red thing", ":rename m1 tea pot", "that again, left of tea pot")
    assert "about m1 (by name, 0.95)" in said
    assert "m1 (as given, 1.00)" in run(talk, ":about tea pot", "that again")
    assert "about" not in run(talk, "the blue thing")  # of the next prompt only
    said = run(talk, "m1 and m4 together")
    assert "user algebra" in said and "from m1, m4" in said


def test_what_the_user_marks(talk, tmp_path):
    Mask.from_array(LEFT).to_png(tmp_path / "my mask.png")
    assert "m1 pot: box 2 4 8 12" in run(talk, f":add {tmp_path}/my mask.png as pot")
    assert "m2: box 2 4 8 12" in run(talk, ":polygon 2 4 8 4 8 12 2 12")
    with pytest.raises(PromptError, match="the model finds nothing there"):
        run(talk, ":box 2 4 8 12")
    with pytest.raises(PromptError, match="the model finds nothing there"):
        run(talk, ":point 3 5 not 20 5")


def test_changes(talk):
    run(talk, "the red thing", "that again, its lid", "the blue thing")
    assert "stale: r2; `:refresh`" in run(talk, ":edit r1 the blue thing")
    assert "r2" in run(talk, ":stale")
    assert "m2: box 24 4 30 12" in run(talk, ":refresh") and "nothing is stale" in talk.said[-1]
    assert "fork-1.json" in run(talk, ":fork")
    assert run(talk, ":delete r3").splitlines() == ["r1  the blue thing: m1", "r2  that again, its lid: m2"]
    run(talk, ":undo", ":undo")
    assert len(talk.kept.session.rounds) == 3
    assert len(run(talk, f":load {talk.root}/fork-1.json").splitlines()) == 3
    run(talk, ":show")
    assert (talk.root / "all.png").is_file()
    run(talk, f":save {talk.root.parent}/kept.json", f":save m1 {talk.root.parent}/m1.png")
    assert read_mask_pixels(talk.root.parent / "m1.png")[0].sum() == 48
    assert ":undo" in run(talk, ":help") and all(f":{name}" in "\n".join(talk.said) for name in COMMANDS)
    run(talk, ":quit")
    assert talk.ended


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (":nothing", "no such command"),
        (":box 1 2", "usage: :box X0 Y0 X1 Y1"),
        (":box a b c d", "usage"),
        (":box nan 0 1 1", "outside the picture"),
        (":point 3", "usage: :point"),
        (":point not", "usage: :point"),
        (":polygon 1 2 3", "polygon 0 must be"),
        (":add nowhere.png", "no such file"),
        (":rename m9 x", "no such segment"),
        (":about m9", "There are: m1"),
        (":edit r1", "usage: :edit"),
        (":edit r9 words", "no such round"),
        (":delete", "no such round"),
        (":save somewhere.txt", "a conversation is a .json file"),
        (":load nowhere.json", "no such file"),
        ("unanswerable", "refused"),
        ("", "nothing"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(talk, line, said):
    run(talk, "the red thing")
    before = talk.kept.session.rounds
    if line:
        with pytest.raises(AskMaskError, match=said):
            talk.take(Line(line))
        assert talk.kept.session.rounds == before


def test_a_conversation_goes_on_and_another_is_not_taken_over(talk, picture, tmp_path):
    run(talk, "the red thing")
    with (
        pytest.raises(SettingError, match="Add --resume"),
        opened(talk.root, ColourModel(), picture, resume=False),
    ):
        pass
    with (
        pytest.raises(SettingError, match="another run is writing"),
        opened(talk.root, ColourModel(), picture, resume=True),
    ):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "conversation.json").write_text("{}")
    for resume in (True, False):
        with pytest.raises(SettingError), opened(tmp_path / "other", ColourModel(), picture, resume=resume):
            pass


def test_a_saved_conversation_of_another_picture_is_refused(talk):
    run(talk, "the red thing", f":save {talk.root.parent}/kept.json")
    data = json.loads((talk.root.parent / "kept.json").read_text())
    (talk.root.parent / "kept.json").write_text(
        json.dumps(data | {"picture": {**data["picture"], "sha256": "0"}})
    )
    with pytest.raises(DataError, match="not the picture"):
        run(talk, f":load {talk.root.parent}/kept.json")
    assert len(talk.kept.session.rounds) == 1


def test_lines_of_scripts(tmp_path):
    (tmp_path / "s.jsonl").write_text('the mug\n"its \\"lid\\""\n\n{"prompt": "it", "about": "m1"}\n:undo\n')
    assert [line.shown for line in read_script(tmp_path / "s.jsonl")] == [
        "the mug",
        'its "lid"',
        'it  {"about": ["m1"]}',
        ":undo",
    ]
    assert line_of('{"points": [[1, 2, 0]], "boxes": [[0, 0, 1, 1]]}', "x") == Line(
        "", (), ((1.0, 2.0, 0.0),), ((0.0, 0.0, 1.0, 1.0),)
    )
    for broken in ('{"prompt": 1}', '{"prompt": "a", "what": 1}', '{"boxes": [[1]]}', '{"points": 3}', "{"):
        with pytest.raises(DataError, match="line 1"):
            line_of(broken, "line 1")
    with pytest.raises(DataError, match="no such script"):
        read_script(tmp_path / "none")
