"""The chat page in a real browser: what people do, where marks land, keyboard alone, and what checkers say."""

import json
import re
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image

from askmask.imaging.colour import apart, seen
from askmask.imaging.mask import Mask
from tests.serving.conftest import BOXES, COLOURS, SIZE, picture

pytest.importorskip("playwright", reason="needs the extra [test]")
from tests.serving.browser import Page, browser_path

pytestmark = [
    pytest.mark.skipif(browser_path() is None, reason="needs chromium"),
    pytest.mark.slow,
]
SCALE = 8
MAGENTA = (255, 0, 255)
PLACES = [(x, y) for x in (40, 95, 151, 205, 260) for y in (30, 75, 121, 170)]


@pytest.fixture(scope="module")
def page():
    page = Page()
    yield page
    page.close()


@pytest.fixture
def opened(page, colours, tmp_path):
    """The page with the picture of colours open; afterwards nothing may stand in the console."""
    page.addresses()
    page.size(1200, 800)
    page.go(colours.url)
    path = tmp_path / "colours.png"
    path.write_bytes(picture(scale=SCALE))
    page.choose_file("#file", path)
    page.wait_picture()
    yield page
    assert page.faults() == []
    asked = [a for a in page.addresses() if a.startswith(("http:", "https:", "ws:", "wss:"))]
    assert asked and [a for a in asked if not a.startswith(colours.url)] == []


def session(page, server):
    return server.client.get(f"/v1/sessions/{page.run('return location.hash.slice(1)')}").json()


def on_screen(page, x, y):
    """Where a place of the picture lies in the window: found by its pixels, not by the page's own arithmetic."""
    frame = page.run("return document.querySelector('#left').getBoundingClientRect().toJSON()")
    seen = page.pixels()
    seen[:, round(frame["right"] * page.ratio) :] = 0  # what is beside it may show the same
    scale = []
    for name in ("red", "green", "blue"):
        rows, columns = np.nonzero(np.abs(seen - np.array(COLOURS[name])).max(2) < 12)
        if len(rows):
            left, top, right, bottom = (SCALE * v for v in BOXES[name])
            scale.append(
                (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, left, top, right, bottom)
            )
    x0, y0, x1, y1, left, top, right, bottom = scale[0]
    per_x, per_y = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)
    assert frame["width"] and abs(per_x - per_y) < 0.1 * per_x
    return (x0 + (x - left) * per_x) / page.ratio, (y0 + (y - top) * per_y) / page.ratio


def middle(name):
    x0, y0, x1, y1 = (SCALE * v for v in BOXES[name])
    return (x0 + x1) / 2, (y0 + y1) / 2


def truth(name) -> Mask:
    x0, y0, x1, y1 = BOXES[name]
    array = np.zeros(SIZE, bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array.repeat(SCALE, 0).repeat(SCALE, 1))


def choose_tool(page, name):
    page.run("document.querySelector(`[name=tool][value=${arguments[0]}]`).click()", name)


# -- where marks land -----------------------------------------------------------------------------------------


def marked_picture(path):
    """Grey, with blocks of magenta of 4 px: what is clicked is found by its colour alone."""
    rgb = np.full((200, 300, 3), 90, np.uint8)
    for x, y in PLACES:
        rgb[y - 2 : y + 2, x - 2 : x + 2] = MAGENTA
    Image.fromarray(rgb).save(path)


def blocks(page):
    """Middles of the magenta blocks that are wholly seen, in the window's own (CSS) pixels."""
    from scipy.ndimage import label

    near = np.abs(page.pixels() - np.array(MAGENTA)).max(2) < 60
    labels, count = label(near)
    found = []
    for n in range(1, count + 1):
        rows, columns = np.nonzero(labels == n)
        whole = len(rows) >= 0.9 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # not under the mark of a click
        if len(rows) >= 8 and whole and abs(np.ptp(rows) - np.ptp(columns)) <= 2:
            centre = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
            found.append((centre[0] / page.ratio, centre[1] / page.ratio))
    return found


@pytest.mark.parametrize("ratio", [1, 2])
def test_clicks_land_within_a_pixel_at_three_zooms_scrolled_and_in_full_screen(
    page, colours, tmp_path, ratio
):
    pytest.importorskip("scipy", reason="finds the blocks in the screenshot")
    page.size(1100, 700, ratio)
    page.go(colours.url)
    marked_picture(tmp_path / "marks.png")
    page.choose_file("#file", tmp_path / "marks.png")
    page.wait_picture()
    choose_tool(page, "point")
    clicked = 0
    for step in ("fit", "in", "out", "full"):
        if step == "in":
            page.wheel(500, 300, -600)
            page.wait("return parseInt(document.querySelector('#scale').textContent) >= 390")
            page.run("document.querySelector('#left').focus()")
        elif step == "out":
            page.press("0")
            page.run("for (let n = 0; n < 2; n++) document.querySelector('#out').click()")
        elif step == "full":
            page.press("0")
            page.run("document.querySelector('#left').focus()")
            page.press("f")
            page.wait("return Boolean(document.fullscreenElement)")
        page.pause(0.15)
        seen = blocks(page)
        assert seen, step
        for x, y in seen[:2]:
            page.click_at(x, y)
            clicked += 1
            page.wait_rounds(clicked)
            [point] = session(page, colours)["rounds"][-1]["prompt"]["points"]
            off = min(max(abs(point[0] - px), abs(point[1] - py)) for px, py in PLACES)
            assert off <= 1, (step, ratio, point)
    page.press("f")
    assert page.faults() == []


def test_a_box_and_a_lasso_are_as_drawn(opened, colours):
    choose_tool(opened, "box")
    x0, y0, x1, y1 = (SCALE * v for v in BOXES["green"])
    opened.drag([on_screen(opened, x0, y0), on_screen(opened, (x0 + x1) / 2, y1), on_screen(opened, x1, y1)])
    opened.wait_rounds(1)
    [box] = session(opened, colours)["rounds"][0]["prompt"]["boxes"]
    assert np.abs(np.array(box) - (x0, y0, x1, y1)).max() <= 1
    choose_tool(opened, "lasso")
    corners = [(80, 20), (200, 20), (200, 60), (80, 60)]
    opened.drag([on_screen(opened, *corner) for corner in (*corners, corners[0])])
    opened.wait_rounds(2)
    drawn = session(opened, colours)["rounds"][1]["segments"][0]
    assert np.abs(np.array(drawn["box"]) - (80, 20, 200, 60)).max() <= 1 and drawn["source"] == "user"


# -- what people do -------------------------------------------------------------------------------------------


def test_ask_light_refer_mend_undo_fork_reload_and_take_away(opened, colours):
    page = opened
    page.ask("the red one")
    page.wait_rounds(1)
    assert page.text(".reply") == "the red part" and "m1" in page.text(".chip")

    red = on_screen(page, *middle("red"))
    page.mouse("mouseMoved", *red)
    page.wait("return document.querySelector('[data-segment=m1]').classList.contains('lit')")
    page.mouse("mouseMoved", *on_screen(page, 370, 250))
    page.wait("return !document.querySelector('.chip.lit')")

    page.click_at(*red)  # a click on a mask: the next prompt is about it
    page.wait("return document.querySelector('#about input')")
    page.ask("that again")
    page.wait_rounds(2)
    assert session(page, colours)["rounds"][1]["prompt"]["refers_to"] == ["m1"]

    page.click_at(*red)
    page.wait("return !document.querySelector('#mend').hidden")
    chosen = page.run("return document.querySelector('#about li button').getAttribute('aria-label')")
    page.run("document.querySelector('[name=how][value=cut]').click()")
    choose_tool(page, "lasso")
    x0, y0, x1, y1 = (SCALE * v for v in BOXES["red"])
    half = (x0 + x1) / 2
    corners = [(half, y0 - 8), (x1 + 8, y0 - 8), (x1 + 8, y1 + 8), (half, y1 + 8)]
    page.drag([on_screen(page, *corner) for corner in (*corners, corners[0])])
    page.wait_rounds(3)
    mended = session(page, colours)["rounds"][2]
    assert mended["answer"]["how"] == "cut" and mended["answer"]["replaces"][0] in chosen
    assert abs(mended["segments"][0]["area"] - truth("red").area / 2) <= y1 - y0 + 1
    assert page.all(".chip.replaced")

    page.run("document.activeElement.blur()")
    page.press("Control+z")
    page.wait_rounds(2)

    page.run("document.querySelector('.round [title=\"Edit the prompt\"]').click()")
    page.wait("return document.activeElement.closest('.editor')")
    page.run("document.activeElement.value = 'the green one'")
    page.press("Enter")
    page.wait("return document.querySelector('.reply').textContent === 'the green part'")
    page.wait_rounds(2)
    rounds = session(page, colours)["rounds"]
    assert rounds[1]["reply"] == "the green part", "what referred to it followed"

    page.run("document.querySelector('.round [title=\"Fork from here\"]').click()")
    before = page.run("return location.hash")
    page.wait("return location.hash !== arguments[0]", before)
    page.wait_picture()
    page.wait_rounds(1)
    page.ask("the blue one")
    page.wait_rounds(2)
    fork = page.run("return location.hash")

    page.window.reload()
    page.wait_picture()
    page.wait_rounds(2)
    assert page.run("return location.hash") == fork
    assert page.texts(".reply") == ["the green part", "the blue part"]

    page.run("document.querySelector('#home').click()")
    page.wait("return document.querySelectorAll('.sessions a').length >= 2")
    page.run("document.querySelector(`.sessions a[href='${arguments[0]}']`).click()", before)
    page.wait_picture()
    page.wait_rounds(2)

    files = {
        name: page.download(f"document.querySelector(`[data-file='{name}']`).click()")
        for name in ("masks.zip", "overlay.png", "saved", "page.html")
    }
    names = ["colours-masks.zip", "colours-overlay.png", "colours.json", "colours.html"]
    assert [path.name for path in files.values()] == names
    with zipfile.ZipFile(files["masks.zip"]) as packed:
        listed = json.loads(packed.read("segments.json"))
        assert {Mask.from_png(packed.read(row["file"])) for row in listed} == {truth("green")}
    assert json.loads(files["saved"].read_text())["rounds"]
    assert Image.open(files["overlay.png"]).width >= SCALE * SIZE[1]
    page.window.goto(files["page.html"].as_uri())
    assert "the green one" in page.text("body") and len(page.all("path[data-m]")) == 2
    page.one("button[data-m]").hover()
    assert page.run("return document.querySelector('path[data-m]').classList.contains('lit')")


def test_things_are_added_and_masks_mended_by_box_point_and_lasso(opened, colours):
    page = opened

    def mark(tool, *corners):
        choose_tool(page, tool)
        places = [on_screen(page, *corner) for corner in corners]
        page.drag(places) if len(places) > 1 else page.click_at(*places[0])

    def last(count):
        page.wait_rounds(count)
        made = session(page, colours)["rounds"][-1]
        return made, Mask.from_dict(made["segments"][0]["mask"]["rle"])

    def box(name):
        x0, y0, x1, y1 = (SCALE * v for v in BOXES[name])
        return (x0 - 4, y0 - 4), (x1 + 4, y1 + 4)

    mark("box", *box("red"))
    first, mask = last(1)
    assert mask == truth("red") and first["answer"]["found"] and "m1" in page.text(".chip")

    page.run("document.querySelector('.chip').click()")
    page.wait("return !document.querySelector('#mend').hidden")
    page.run("document.querySelector('[name=how][value=add]').click()")
    assert page.text("#mend label:nth-child(2)") == "Add to m1"
    mark("box", *box("green"))
    added, mask = last(2)
    assert mask == truth("red") | truth("green") and added["answer"]["replaces"] == ["m1"]
    assert [chip.inner_text() for chip in page.all(".chip.replaced")] == ["m1"]
    assert page.texts(".asked")[1].split() == ["Add", "to", "m1", "1", "box"]

    page.wait("return document.querySelector('#about li')")  # what was mended is chosen, to be mended further
    page.run("document.querySelector('[name=how][value=cut]').click()")
    mark("point", middle("red"))
    cut, mask = last(3)
    assert mask == truth("green") and cut["answer"]["replaces"] == [added["segments"][0]["id"]]

    page.run("document.querySelector('[name=how][value=add]').click()")
    mark("lasso", (80, 160), (120, 160), (120, 200), (80, 200), (80, 160))
    drawn, mask = last(4)
    assert abs(mask.area - truth("green").area - 1600) <= 160 and drawn["segments"][0]["source"] == "user"

    mark("box", (300, 200), (360, 240))  # where nothing is
    page.wait("return document.querySelector('.round .problem')")
    assert "Nothing was found at that place. Draw around what is meant." in page.text(".problem")
    assert len(session(page, colours)["rounds"]) == 4
    page.run(
        "[...document.querySelectorAll('.round button')].find((one) => one.textContent === 'Dismiss').click()"
    )
    page.wait_rounds(4)
    page.faults()  # that call was refused, which the console says

    page.run("document.querySelector('[name=how][value=new]').click()")
    mark("point", middle("blue"))
    other, mask = last(5)
    assert mask == truth("blue") and "replaces" not in other["answer"]
    for left in (4, 3, 2, 1):
        page.run("document.querySelector('#undo').click()")
        page.wait_rounds(left)
    assert page.all(".chip.replaced") == [] and page.texts(".chip") == ["m1"]


def open_saved(page, data, folder):
    """Give a saved conversation of one round to the start page, then its picture."""
    (folder / "saved.json").write_bytes(data)
    page.run("document.querySelector('#home').click()")
    page.choose_file("#saved-file", folder / "saved.json")
    page.wait("return !document.querySelector('#toast').hidden")
    page.choose_file("#file", folder / "colours.png")
    page.wait_picture()
    page.wait_rounds(1)


def test_a_saved_conversation_goes_on_and_two_models_stand_side_by_side(opened, colours, tmp_path):
    page = opened
    page.ask("the red one")
    page.wait_rounds(1)
    saved = colours.client.get(f"/v1/sessions/{page.run('return location.hash.slice(1)')}/saved")
    open_saved(page, saved.content, tmp_path)

    page.run("document.querySelector('#compare').click()")
    page.wait("return document.querySelector('#compare-dialog').open")
    page.run("document.querySelector('#compare-body button').click()")
    page.wait(
        "return document.querySelector('#second').hidden === false && document.querySelector('.twin .chip')"
    )
    page.ask("the green one")
    page.wait_rounds(2)
    assert page.text("#right-name") == "second" and len(page.all(".twin")) == 2
    facts = [fact.split(" ")[0] for fact in page.texts(".facts")]
    assert facts == ["second", "colours", "second"], "what was saved says nothing of its model"
    page.click_at(*on_screen(page, *middle("red")))
    page.wait("return document.querySelector('#about li')")
    page.ask("that again")
    page.wait_rounds(3)
    other = page.run("return document.querySelectorAll('.round')[2].querySelector('.twin').textContent")
    assert "could not be asked" not in other and page.all(".rounds .problem") == []
    seen = page.pixels()
    half = page.run("return document.querySelector('#right').getBoundingClientRect().left") * page.ratio
    whole = np.abs(seen - np.array(COLOURS["blue"])).max(2) < 12
    assert whole[:, : int(half)].any() and whole[:, int(half) :].any(), "the picture on both sides"
    page.run("document.querySelector('#compare').click()")
    page.wait("return document.querySelector('#second').hidden")


def test_masks_of_one_phrase_are_told_apart(opened, colours, tmp_path):
    page = opened
    page.ask("the red one")
    page.wait_rounds(1)
    saved = colours.client.get(f"/v1/sessions/{page.run('return location.hash.slice(1)')}/saved").json()
    only = saved["rounds"][0]["segments"][0] | {"phrase": "the boxes", "span": [0, 9]}
    saved["rounds"][0] |= {"reply": "the boxes", "segments": [only, only | {"id": "m2"}]}
    saved["next"]["m"] = 3
    open_saved(page, json.dumps(saved).encode(), tmp_path)
    first, second = page.texts(".chip")
    assert "the boxes 1" in first and "the boxes 2" in second


def test_two_tabs_of_one_conversation_go_on_together(opened, colours):
    page, name = opened, opened.run("return location.hash.slice(1)")
    page.ask("the red one")
    page.wait_rounds(1)
    assert colours.ask(name, "the green one").status_code == 200  # as another tab does
    page.ask("the blue one")
    page.wait_rounds(3)
    assert page.texts(".reply") == ["the red part", "the green part", "the blue part"]
    assert colours.client.delete(f"/v1/sessions/{name}/rounds/r2").status_code == 200
    page.run("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    page.wait_rounds(2)
    page.press("Escape")
    page.run("document.activeElement.blur()")
    page.press("Control+z")
    page.wait_rounds(3)


def test_a_server_that_was_killed_and_came_back_is_gone_on_with(page, tmp_path):
    from tests.serving.conftest import colour_server

    with colour_server(tmp_path / "data") as first:
        page.size(1200, 800)
        page.go(first.url)
        (tmp_path / "colours.png").write_bytes(picture(scale=SCALE))
        page.choose_file("#file", tmp_path / "colours.png")
        page.wait_picture()
        page.ask("the red one")
        page.wait_rounds(1)
        first.stop(signal.SIGKILL)
    page.ask("the green one")
    page.wait("return document.querySelector('.waiting')?.textContent.includes('cannot be reached')")
    with colour_server(tmp_path / "data", "--port", first.url.rsplit(":", 1)[1]):
        page.wait_rounds(2)
        page.window.reload()
        page.wait_picture()
        page.wait_rounds(2)
        assert page.texts(".reply") == ["the red part", "the green part"]
        page.visit("about:blank")


def test_every_mask_has_a_colour_of_its_own_that_shows_on_what_it_covers(opened):
    """Eight masks, six of them of one red thing: no two alike, the first ones far apart for colour-blind eyes too."""
    for number, text in enumerate(["the red one", "the green one", "the blue one", *["the red one"] * 5], 1):
        opened.ask(text)
        opened.wait_rounds(number)
    dots = opened.run(
        "return [...document.querySelectorAll('.chip .dot')].map((dot) => getComputedStyle(dot).backgroundColor)"
    )
    drawn = [tuple(map(int, re.findall(r"\d+", dot)))[:3] for dot in dots]
    assert len(set(drawn)) == len(drawn) == 8
    eyes = seen(np.array(drawn))
    between = apart(eyes, eyes) + np.eye(8)
    beneath = np.diag(apart(eyes[:, :3], seen(np.array(list(COLOURS.values())))))
    assert beneath.min() > 0.15 and between[:4, :4].min() > 0.15, drawn


def test_it_says_when_nothing_matches_and_when_asking_fails(opened, colours):
    page = opened
    page.ask("the purple one")
    page.wait_rounds(1)
    assert "Nothing in the picture matches." in page.text(".none")
    page.ask("whichever")  # answered by a question: a screen reader said "nothing matches"
    page.wait_rounds(2)
    page.wait("return document.querySelector('#say').textContent == 'The red one or the green one?'")
    assert page.run("return document.querySelectorAll('.none').length") == 1
    page.ask("unanswerable")
    page.wait("return document.querySelector('.round .problem')")
    assert "This prompt is refused." in page.text(".problem")
    page.run("document.querySelector('.round .problem').parentElement.querySelector('button').click()")
    page.wait_rounds(2)
    page.faults()  # the refusal itself stands in the console: a status of 422 is no fault of the page


def test_what_is_no_picture_is_said_under_its_own_name(opened, tmp_path):
    opened.run("document.querySelector('#home').click()")
    (tmp_path / "notes.png").write_bytes(b"no picture")
    opened.choose_file("#file", tmp_path / "notes.png")
    opened.wait("return document.querySelector('#toast').textContent.includes('not a picture')")
    assert opened.text("#toast") == "notes.png: not a picture that can be read. Use PNG or JPEG."
    opened.faults()  # it was refused, which the console says


def test_the_name_of_what_is_chosen_is_seen_whole(opened):
    opened.ask("the red one")
    opened.wait_rounds(1)
    opened.run("document.querySelector('.chip').click()")
    opened.run("document.querySelector('#about input').focus()")
    opened.type("the yellow plank")
    opened.press("Enter")
    opened.wait("return document.querySelector('.chip').textContent.includes('plank')")
    opened.wait("return document.querySelector('#mend b').textContent.includes('plank')")
    names = "document.querySelectorAll('#about input, #mend span')"
    assert max(opened.run(f"return [...{names}].map((it) => it.scrollWidth - it.clientWidth)")) <= 0


def test_conversations_of_before_can_be_told_apart_on_a_phone(opened, colours):
    opened.ask("the red one")
    opened.wait_rounds(1)
    opened.size(390, 844, 2, mobile=True)
    opened.run("document.querySelector('#home').click()")
    opened.wait("return document.querySelector('.sessions b')")
    opened.pause(0.1)
    for what in ("b", "small"):
        cut = opened.run(
            "const it = document.querySelector('.sessions ' + arguments[0]); return it.scrollWidth - it.clientWidth",
            what,
        )
        assert cut <= 0, what
    wide = opened.run("return document.documentElement.scrollWidth")
    assert wide <= 390
    opened.size(1200, 800)


def test_with_the_keyboard_alone(page, colours):
    page.size(1200, 800)
    page.go(colours.url)
    page.run("document.activeElement.blur()")
    for _ in range(60):  # to the first example
        page.press("Tab")
        if page.run("return Boolean(document.activeElement.closest('.examples'))"):
            break
    page.press("Enter")
    page.wait_picture()
    page.wait("return document.activeElement.id === 'prompt'")
    page.type("the red one")
    page.press("Enter")
    page.wait_rounds(1)
    page.press("Shift+Tab")
    for _ in range(12):  # back to the first chip of the answer
        if page.run("return Boolean(document.activeElement.closest('.chip'))"):
            break
        page.press("Shift+Tab")
    assert page.run("return document.activeElement.dataset.segment") == "m1"
    page.press("Enter")
    page.wait("return document.querySelector('#about li')")
    page.press("/")
    page.type("that again")
    page.press("Enter")
    page.wait_rounds(2)
    page.press("Escape", "Tab", "Escape")
    page.run("document.activeElement.blur()")
    page.press("4", "p")
    assert page.run("return document.activeElement.id") == "left"
    for keys in (("ArrowRight",), ("ArrowRight",) * 3, ("ArrowDown",) * 3, ("ArrowLeft",) * 3):
        page.press(*keys)
        page.press("Enter")
    page.press("Enter")
    page.wait_rounds(3)
    rounds = session(page, colours)["rounds"]
    assert rounds[1]["prompt"]["refers_to"] == ["m1"] and rounds[2]["segments"][0]["source"] == "user"
    assert rounds[2]["segments"][0]["area"] > 50
    assert "mask" in page.run("return document.querySelector('#say').textContent")
    page.press("Control+z")
    page.wait_rounds(2)
    page.press("?")
    page.wait("return document.querySelector('#help-dialog').open")
    page.press("Escape")
    page.wait("return !document.querySelector('#help-dialog').open")
    assert page.faults() == []


# -- what checkers say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["light", "dark", "phone"])
def test_axe_finds_no_serious_fault(page, colours, tmp_path, how):
    axe = pytest.importorskip("axe_core_python.base", reason="needs axe-core-python")
    page.size(390 if how == "phone" else 1200, 800, 2 if how == "phone" else 1, mobile=how == "phone")
    page.dark(how == "dark")
    try:
        page.go(colours.url)
        page.wait("return document.querySelectorAll('.examples li').length === 12")
        serious = faults_of_axe(page, axe)
        (tmp_path / "colours.png").write_bytes(picture(scale=SCALE))
        page.choose_file("#file", tmp_path / "colours.png")
        page.wait_picture()
        for text in ("the red one", "the purple one"):
            page.ask(text)
        page.wait_rounds(2)
        page.run("document.querySelector('.chip').click()")
        page.run("for (const one of document.querySelectorAll('details')) one.open = true")
        serious += faults_of_axe(page, axe)
        page.run("document.querySelector('#help-dialog').showModal()")
        serious += faults_of_axe(page, axe)
    finally:
        page.dark(False)
    assert serious == []


def faults_of_axe(page, axe) -> list:
    page.run(axe.AXE_SCRIPT if hasattr(axe, "AXE_SCRIPT") else axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = page.run("return axe.run()")
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_a_key_is_asked_for_where_one_is_needed(page, tmp_path):
    from tests.serving.conftest import colour_server

    key = "a-key-of-some-length-0"
    with colour_server(tmp_path / "keyed", "--key", key) as server:
        page.size(1200, 800)
        page.visit(server.url)
        page.wait("return document.querySelector('#key-dialog').open")
        page.type("wrong-wrong-wrong-wrong")
        page.press("Enter")
        page.wait(
            "return !document.querySelector('#key-wrong').hidden && document.querySelector('#key-dialog').open"
        )
        page.run("document.querySelector('#key').focus()")
        page.type(key)
        page.press("Enter")
        page.wait("return document.documentElement.dataset.ready === 'yes'")
        assert page.run("return document.querySelector('#model').value") == "colours"
        shown = "document.documentElement.outerHTML + location.href + JSON.stringify(localStorage)"
        assert key not in page.run(f"return {shown}")
        page.faults()


def test_the_example_conversation_with_mini(page, mini):
    page.size(1200, 800)
    page.go(mini.url)
    page.run("document.querySelector('#watch').click()")
    page.wait_rounds(5)
    assert len(page.all(".chip")) >= 2
    assert (
        sum(bool(r["segments"]) for r in session(page, mini)["rounds"]) >= 2
    )  # what is found is for the scores to say
    assert page.faults() == []


def test_mini_says_that_a_photograph_is_not_its_own(page, mini, tmp_path):
    page.size(1200, 800)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    Image.fromarray(noise).resize((640, 480)).save(tmp_path / "noise.png")
    page.go(mini.url)
    page.choose_file("#file", tmp_path / "noise.png")
    page.wait_picture()
    page.ask("the mug")
    page.wait_rounds(1)
    assert "--model point" in page.text("#banner")
    page.ask("the bowl")
    page.wait_rounds(2)
    assert len([text for text in page.texts(".notice") if "unlike" in text]) == 1, (
        "said once, not at each round"
    )
    page.pause(0.1)
    place = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
    below, above = page.run(place, "#left"), page.run(place, "#banner")
    assert above["bottom"] <= below["top"] + 1, "it lies beside the picture, not over it"
    page.run("document.querySelector('#banner button').click()")
    page.wait("return document.querySelector('#banner').hidden")
    page.pause(0.1)
    assert page.run(place, "#left")["top"] < below["top"]
    assert page.faults() == []


def test_the_page_of_the_api_lists_every_call(page, colours):
    page.size(1200, 800)
    page.visit(f"{colours.url}/api")
    page.wait("return document.querySelectorAll('[data-path]').length > 20")
    text = page.text("body")
    assert "/v1/sessions/{session}/rounds" in text and "Idempotency-Key" in text
    assert page.faults() == []
