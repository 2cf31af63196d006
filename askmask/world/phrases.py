"""The words: what things are called, and for each kind of prompt two disjoint banks of templates.

The first bank trains; the second is held out for validation and test, so that a score measures paraphrase and not
memory. `paraphrases.json` widens the first bank; it was written without sight of the second. A template that starts with "=" is a whole prompt; any other is a noun phrase that a frame wraps.
Slots: {x} a thing ("the red mug"), {n} a noun, {ns} its plural, {c} a colour, {m} a material, {p} a part, {k} an
ordinal.
"""

from __future__ import annotations

import json
from importlib import resources

NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "mug": (("mug", "mugs"), ("coffee mug", "coffee mugs")),
    "glass": (("glass", "glasses"), ("drinking glass", "drinking glasses")),
    "bottle": (("bottle", "bottles"),),
    "can": (("can", "cans"), ("tin can", "tin cans")),
    "vase": (("vase", "vases"),),
    "bowl": (("bowl", "bowls"),),
    "pot": (("pot", "pots"), ("cooking pot", "cooking pots")),
    "pan": (("pan", "pans"), ("frying pan", "frying pans")),
    "plate": (("plate", "plates"), ("dish", "dishes")),
    "tray": (("tray", "trays"), ("serving tray", "serving trays")),
    "trivet": (("trivet", "trivets"), ("pot stand", "pot stands")),
    "board": (("cutting board", "cutting boards"), ("chopping board", "chopping boards")),
    "book": (("book", "books"),),
    "box": (("box", "boxes"), ("block", "blocks")),
    "plank": (("plank", "planks"), ("wooden plank", "wooden planks")),
    "shelf": (("shelf", "shelves"), ("small shelf", "small shelves")),
    "ball": (("ball", "balls"),),
    "apple": (("apple", "apples"),),
    "cushion": (("cushion", "cushions"), ("pillow", "pillows")),
    "candle": (("candle", "candles"),),
    "knife": (("knife", "knives"),),
    "spoon": (("spoon", "spoons"),),
    "teapot": (("teapot", "teapots"), ("tea pot", "tea pots")),
    "jar": (("jar", "jars"),),
    "hotplate": (("hotplate", "hotplates"), ("hot plate", "hot plates")),
    "cloth": (("cloth", "cloths"), ("napkin", "napkins")),
    "crate": (("crate", "crates"), ("open crate", "open crates")),
    "stool": (("stool", "stools"),),
    "bucket": (("bucket", "buckets"), ("pail", "pails")),
}
ABSENT = (
    ("kettle", "kettles"),
    ("fork", "forks"),
    ("lamp", "lamps"),
    ("clock", "clocks"),
    ("banana", "bananas"),
)
ADJECTIVES = {
    "wood": "wooden",
    "paper": "paper",
    "fabric": "fabric",
    "wax": "wax",
    "fruit": "fruit",
}  # else the noun
ORDINALS = ("first", "second", "third", "fourth", "fifth")

FRAMES_TRAIN = (
    "{np}", "{np}", "{np}", "show me {np}", "find {np}", "segment {np}", "mark {np}", "highlight {np}", "point to {np}",
    "select {np}", "can you find {np}?", "please mark {np}", "I need {np}", "give me {np}", "pick out {np}",
    "help me find {np}", "I am trying to find {np}", "I want to see {np}", "look for {np}",
)  # fmt: skip
FRAMES_HELD = (
    "{np} please", "can you point to {np}?", "please find {np} for me", "I want {np}", "where can you see {np}?",
    "help me to mark {np}", "could you show {np}?", "I am trying to see {np}",
)  # fmt: skip

# kind: (bank for training, bank held out)
BANK: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # -- entities -----------------------------------------------------------------------------------------
    "category": (("the {ns}", "every {n}", "all {ns}", "any {n} here", "each {n} in the picture", "each {n} you can see"), ("all the {ns} in this picture", "any {ns} you see")),
    "colour_category": (("the {c} {ns}", "every {c} {n}", "all {c} {ns}", "any {n} that is {c}", "{ns} in {c}"), ("each {n} of {c} colour", "all the {ns} that are {c}")),
    "one": (("{x}", "just {x}", "only {x}"), ("{x} and nothing else", "{x} only")),
    "colour": (("the {c} things", "everything {c}", "all {c} objects", "anything that is {c}", "things of {c} colour"), ("each thing that is {c}", "all objects in {c}", "any {c} object")),
    "material": (("things made of {m}", "everything made of {m}", "all {m} objects", "objects made from {m}", "anything of {m}"), ("each thing that is made of {m}", "any object made from {m}")),
    "transparent": (("things I can see through", "transparent objects", "everything made of clear glass", "see-through things", "=what can I look through?"), ("objects you can look through", "anything transparent", "=what here is see-through?")),
    "part": (("the {p} of {x}", "{x}, but only its {p}", "only the {p} of {x}", "the {p} that belongs to {x}"), ("just the {p} of {x}", "the {p} on {x}, nothing else")),
    "parts": (("every {p}", "all the {p} parts", "each {p} you can see", "any {p}", "the {p} of each thing that has one"), ("all {p} parts in the picture", "each {p} of any thing")),
    "table": (("the table top", "the top of the table", "the surface of the table", "the tabletop", "=what is everything standing on?"), ("the table's surface", "=what do all the things stand on?")),
    "floor": (("the floor", "the ground", "the floor of the room", "=where would you walk?"), ("the ground of the room", "the floor under the table")),
    "lying": (("things lying on their side", "everything that fell over", "objects that are tipped over", "whatever lies on its side", "=what has fallen over?"), ("anything lying on its side", "=which things are tipped over?", "objects that fell over")),
    "upside_down": (("things that are upside down", "everything turned upside down", "objects with the opening facing down", "whatever stands on its rim", "=what is upside down?"), ("anything upside down", "=which things are turned upside down?")),
    "covered": (("things with their lid on", "closed vessels", "everything that has a lid on it", "containers that are closed", "=what is covered with a lid?"), ("anything with a lid on", "=which containers are closed?")),
    "open": (("open containers", "vessels without a lid", "hollow things that are open", "containers you can look into", "=which containers have no lid?"), ("any container without a lid", "things that are hollow and open")),
    "stack": (("the whole stack with {x}", "the pile that {x} belongs to", "everything in the stack that {x} is part of", "all of the pile with {x} in it", "the entire stack around {x}", "things stacked together with {x}", "the group of stacked things around {x}"), ("the entire pile that has {x} in it", "all things stacked together with {x}")),
    "tallest": (("the tallest thing", "the thing that is highest from base to top", "the tallest object on the table", "=what is the tallest?"), ("the object that is tallest", "=which thing is tallest?")),
    "largest": (("the biggest thing on the table", "the largest object", "the bulkiest thing here", "=what is the biggest object?"), ("the object that is biggest", "=which thing is the largest?")),
    # -- spatial ------------------------------------------------------------------------------------------
    "left_of": (("things to the left of {x}", "everything left of {x}", "objects on the left side of {x}", "whatever is left of {x}", "=what is to the left of {x}?"), ("anything on the left of {x}", "all that is left of {x}", "=which things are left of {x}?")),
    "right_of": (("things to the right of {x}", "everything right of {x}", "objects on the right side of {x}", "whatever is right of {x}", "=what is to the right of {x}?"), ("anything on the right of {x}", "all that is right of {x}", "=which things are right of {x}?")),
    "front_of": (("things in front of {x}", "everything closer to me than {x}", "objects nearer than {x}", "whatever stands in front of {x}", "=what is in front of {x}?"), ("anything nearer to me than {x}", "=which things are in front of {x}?")),
    "behind": (("things behind {x}", "everything farther away than {x}", "objects at the back of {x}", "whatever stands behind {x}", "=what is behind {x}?"), ("anything farther from me than {x}", "=which things are behind {x}?")),
    "leftmost": (("the leftmost thing", "the thing farthest to the left", "the object at the far left", "=what is farthest left?"), ("the object that is farthest left", "=which thing is leftmost?")),
    "rightmost": (("the rightmost thing", "the thing farthest to the right", "the object at the far right", "=what is farthest right?"), ("the object that is farthest right", "=which thing is rightmost?")),
    "nearest": (("the thing nearest to me", "the closest object", "the object closest to the camera", "=what is closest to me?"), ("the object that is nearest", "=which thing is closest to the camera?")),
    "farthest": (("the thing farthest from me", "the most distant object", "the object farthest from the camera", "=what is farthest away?"), ("the object that is farthest away", "=which thing is most distant?")),
    "nearest_to": (("the thing nearest to {x}", "the object closest to {x}", "the closest neighbour of {x}", "=what is closest to {x}?"), ("the neighbour that is nearest to {x}", "=which thing is closest to {x}?")),
    "near": (("things close to {x}", "everything within a hand of {x}", "objects right next to {x}", "whatever is close by {x}"), ("anything right next to {x}", "all that is close to {x}")),
    "nth_left": (("the {k} thing from the left", "the {k} object counted from the left", "number {k} from the left"), ("the object that is {k} from the left", "the {k} one counted from the left")),
    "nth_right": (("the {k} thing from the right", "the {k} object counted from the right", "number {k} from the right"), ("the object that is {k} from the right", "the {k} one counted from the right")),
    "hidden": (("things that are partly hidden", "everything partly covered by something in front", "objects I cannot see fully", "half hidden things", "=what is partly out of sight?"), ("anything that is partly hidden", "=which things can I not see fully?")),
    "on_floor": (("things on the floor", "everything that is not on the table but on the floor", "objects standing on the floor", "=what is on the floor?"), ("anything standing on the ground", "=which things are on the floor?")),
    "directly_on_table": (("things that stand directly on the table", "everything touching the table", "objects whose base is on the table top", "whatever rests on the table itself"), ("anything that touches the table directly", "=which things rest on the table itself?")),
    "not_on_table": (("things that do not touch the table", "everything that is held up by something else", "objects resting on another thing instead of the table", "whatever stands on something other than the table"), ("anything not touching the table", "=which things rest on another thing?")),
    "above": (("things higher up than {x}", "everything above {x} in its stack", "whatever is over {x} in the pile"), ("anything above {x} in the stack", "=which things are over {x} in the pile?")),
    "under": (("things underneath {x}", "everything below {x}", "whatever is under {x}", "=what is under {x}?"), ("anything underneath {x}", "=which things are below {x}?")),
    "top_of_stack": (("the top of the stack with {x}", "the highest thing in the pile with {x}", "whatever is at the very top above {x}"), ("the thing at the top of the pile with {x}", "=what is highest in the stack with {x}?")),
    "bottom_of_stack": (("the bottom of the stack with {x}", "the lowest thing in the pile with {x}", "the base of the stack that {x} is part of"), ("the thing at the bottom of the pile with {x}", "=what is lowest in the stack with {x}?")),
    "handle_side": (("things on the side where the handle of {x} points", "everything on the handle side of {x}", "objects that the handle of {x} points to"), ("anything on the side that the handle of {x} points to", "all that is on the handle side of {x}")),
    # -- relations ----------------------------------------------------------------------------------------
    "rests_on": (("what {x} is resting on", "the thing that carries {x}", "the object under {x} that holds it up", "whatever supports {x}", "=what is {x} standing on?"), ("the thing {x} stands on", "=what holds {x} up?", "the object that supports {x}")),
    "carried_by": (("things resting on {x}", "everything on top of {x}", "what {x} is holding up", "whatever stands on {x}", "=what does {x} carry?"), ("anything that stands on {x}", "=which things rest on {x}?", "all that {x} holds up")),
    "inside": (("the thing in {x}", "everything inside {x}", "what {x} contains", "the contents of {x}", "=what is in {x}?", "=what does {x} contain?"), ("anything inside {x}", "=which things does {x} contain?")),
    "container_of": (("the thing that contains {x}", "what {x} is in", "the container around {x}", "=what holds {x} inside?"), ("the container that {x} is in", "=in what is {x}?")),
    "touching": (("things touching {x}", "everything in contact with {x}", "whatever touches {x}", "=what is touching {x}?"), ("anything in contact with {x}", "=which things touch {x}?")),
    "leaning": (("the thing leaning on {x}", "what leans against {x}", "whatever is propped against {x}"), ("anything leaning against {x}", "=which thing leans on {x}?")),
    "hiding": (("what blocks my view of {x}", "the thing hiding {x}", "whatever covers part of {x}", "the object in front of {x} that hides it", "=what is hiding {x}?"), ("anything that blocks my view of {x}", "=which thing covers part of {x}?")),
    "same_colour": (("things with the same colour as {x}", "everything coloured like {x}", "other objects that have the colour of {x}", "whatever matches {x} in colour", "things that match the colour of {x}"), ("anything that has the same colour as {x}", "=which other things match {x} in colour?")),
    "same_kind": (("the other {n} besides {x}", "other {ns} than {x}", "things of the same kind as {x}", "the {ns} that are not {x}"), ("any {n} other than {x}", "=which things are of the same kind as {x}?")),
    "same_material": (("things made of the same material as {x}", "everything made of what {x} is made of", "other objects of the same stuff as {x}"), ("anything made of the same stuff as {x}", "=which other things are made of what {x} is made of?")),
    # -- affordances --------------------------------------------------------------------------------------
    "holds_liquid": (("something I can fill with water", "things I could pour a drink into right now", "vessels that would hold liquid as they are", "everything ready to be filled with liquid", "=what could I pour water into?", "=where can I put the soup?"), ("anything I could fill with liquid right now", "=which things would hold water as they are?", "vessels ready for a drink to be poured into")),
    "cannot_hold": (("vessels I cannot fill the way they are now", "containers that would not hold water right now", "every vessel that is not fit to be filled now", "=which vessels can not be filled as they are?"), ("any vessel that I can not pour water into right now", "containers that can not be filled the way they are")),
    "free_surface": (("things with room on top for a cup", "objects with a free flat top", "everything I could put my cup on", "a free spot on an object for my cup", "=where could I put my cup down, other than the table?"), ("anything with a free spot on top for a cup", "=on which objects could I put my cup down?")),
    "surface": (("the flat surface on top of {x}", "the top side of {x}", "the area of {x} where I could put a cup", "the upper face of {x}"), ("the flat area on top of {x}", "the upper side of {x}")),
    "heat_proof": (("a safe place for a hot pan", "things I could put a hot pan on", "a heat proof free surface", "everything that can take a hot pot right now", "=where can I put this hot pan?"), ("anything I could put a hot pot on right now", "=which surface is safe for a hot pan?")),
    "reachable": (("things I can grab from the front without touching anything else", "objects my hand can reach without hitting others", "everything with a clear way for my hand", "=what can I reach without moving anything?"), ("anything that I can grab from the front without moving others", "=which objects can my hand reach without touching anything?")),
    "not_reachable": (("things I cannot grab from the front without moving something", "objects that are blocked from my hand", "everything that something else keeps me from reaching", "=what can I not reach without moving something?"), ("anything my hand can not reach without moving something", "=which objects are blocked from the front?")),
    "grasp": (("the part of {x} to hold it by", "where to grab {x}", "the part made for my hand on {x}", "=where do I hold {x}?"), ("the part to grab on {x}", "=by what part do I hold {x}?")),
    "cut_with": (("the part that cuts", "the sharp part", "what I could slice an apple with", "=which part could cut me?"), ("the part I could cut with", "=what part is sharp?")),
    "drink": (("something I could drink from now", "things to drink water from", "everything a person could drink from as it stands", "=what can I drink from?", "=what is there to drink from?"), ("anything that I could drink from as it stands", "=which things can I drink from now?")),
    "eat": (("something to eat", "food", "what I could eat", "=what can I bite into?"), ("anything I could eat", "=what here is food?")),
    "sit": (("something to sit on", "a seat", "=where could I sit down?"), ("anything I could sit on", "=what is there to sit on?")),
    "must_move": (("what I must move first to reach {x}", "the things to take away before I can grab {x}", "whatever I have to move to get to {x}"), ("anything I must take away first to get {x}", "=what do I have to move before I can reach {x}?")),
    # -- physics ------------------------------------------------------------------------------------------
    "removable": (("things I can take away without anything falling", "objects that can be pulled out with nothing else falling over", "everything I could remove and the rest would stay up", "=what can I take without the stack collapsing?", "=which objects can I take out so that nothing falls over?"), ("anything I could take away and nothing would fall", "=which things can be removed with nothing else falling over?")),
    "not_removable": (("things that make others fall when taken away", "objects I must not remove or something drops", "everything that something else would fall without", "whatever makes other things fall when it is gone", "=what should I not pull out?", "=what holds the rest in place?"), ("anything that makes others drop when I pull it out", "=which objects must I not take away?")),
    "falls_with": (("what would fall if I took away {x}", "things that drop when {x} is removed", "everything that would not stay if {x} was gone", "=what falls if {x} is pulled out?"), ("whatever would drop if {x} was taken away", "=which things fall when I remove {x}?")),
    "tips": (("things that topple easily", "objects that would tip over from a small push", "everything easy to knock over", "unstable things", "=what would fall over if I bumped it?"), ("anything that would topple from a small push", "=which objects are easy to tip over?")),
    "rolls_left": (("what would roll if the table tilts to the left", "things that roll away when the left side goes down", "=what rolls if I lower the left side of the table?"), ("anything that would roll when the table tilts to the left", "=which things roll away if the left side goes down?")),
    "rolls_right": (("what would roll if the table tilts to the right", "things that roll away when the right side goes down", "=what rolls if I lower the right side of the table?"), ("anything that would roll when the table tilts to the right", "=which things roll away if the right side goes down?")),
    "rolls_front": (("what would roll if the table tilts toward me", "things that roll to me when the front side goes down", "=what rolls if I lower my side of the table?"), ("anything that would roll when the table tilts toward me", "=which things roll to me if the front side goes down?")),
    "rolls_back": (("what would roll if the table tilts away from me", "things that roll away when the back side goes down", "=what rolls if I lower the far side of the table?"), ("anything that would roll when the table tilts away from me", "=which things roll away if the back side goes down?")),
    "stays": (("things that stay put however the table tilts a little", "objects that would not roll whichever way I tilt the table", "=what stays where it is if the table tilts?"), ("anything that would not roll when the table tilts", "=which things stay put if I tilt the table a little?")),
    "load_bearing": (("load bearing objects", "things that carry weight", "everything with something resting on it", "objects that hold something up", "=what carries something?"), ("anything that carries the weight of another thing", "=which objects hold something up?")),
    "near_edge": (("things close to the edge of the table", "objects that could be knocked off the table edge", "everything right at the table's edge", "=what is in danger of falling off the table?"), ("anything right at the edge of the table", "=which objects are close to falling off the table?")),
    "overhangs": (("things sticking out over the edge of the table", "objects that hang over the edge", "everything that is partly off the table", "=what hangs over the edge?"), ("anything that hangs out over the table's edge", "=which things are partly off the table?")),
    "blocked_by": (("what is in the way of my hand if I reach for {x}", "the things I would hit when I reach for {x} from the front", "=what blocks the way to {x}?"), ("whatever my hand would hit on the way to {x}", "=which things are in the way if I reach for {x}?")),
    "contains_flow": (("things that would catch the beads if I dropped them in", "=where would rice stay if I poured it in from above?", "everything that would keep what I drop into it"), ("anything that would keep beads poured in from above", "=which things would catch rice if I dropped it in?")),
    "sharp": (("sharp things", "what I could cut myself with", "=what should a child not touch?"), ("anything sharp", "=what could I cut myself with?")),
    "fragile": (("things that would break if they fell", "breakable objects", "=what could shatter?"), ("anything that could break", "=which things would shatter if they fell?")),
    # -- composition: a noun phrase, and one clause (two when negated) -------------------------------------
    "compose": (("the {ns} {that}", "any {n} {that}", "{ns} {that}", "every {n} {that}"), ("all {ns} {that}", "each {n} {that}")),
    "compose_not": (("the {ns} {that}, but not the {c} ones", "{ns} {that} except anything {c}", "every {n} {that} that is not {c}"), ("all {ns} {that}, except the {c} ones", "any {n} {that} but not if it is {c}")),
}  # fmt: skip

# attribute: (clauses that say it, clauses that deny it), each as (train, held out); they follow a noun
CLAUSES: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "removable": (
        (("that I can take away without anything falling", "I could remove with the rest staying up"), ("that I could take out and nothing would fall over",)),
        (("that I cannot take away without something falling", "that would make others drop if removed"), ("that must not be taken away or something falls",)),
    ),
    "tips": (
        (("that would topple easily", "that could tip over from a small push"), ("that would fall over if I bumped it",)),
        (("that would not topple easily", "that could not be tipped by a small push"), ("that would stay up if I bumped it",)),
    ),
    "rolls": (
        (("that would roll when the table tilts", "that could roll away"), ("that would roll if I tilt the table",)),
        (("that would not roll when the table tilts", "that could not roll away"), ("that would stay put if I tilt the table",)),
    ),
    "holds_liquid": (
        (("that would hold water right now", "I could fill right now"), ("that could be filled with liquid right now",)),
        (("that would not hold water right now", "I could not fill right now"), ("that can not be filled with liquid right now",)),
    ),
    "reachable": (
        (("I can reach from the front without touching anything", "with a clear way for my hand"), ("that my hand can reach without moving others",)),
        (("I cannot reach without moving something", "that something else blocks from my hand"), ("that my hand can not reach without moving others",)),
    ),
    "near_edge": (
        (("close to the edge of the table", "right at the table's edge", "near the table's edge"), ("near the edge of the table",)),
        (("away from the edge of the table", "not close to the table's edge"), ("not near the edge of the table",)),
    ),
    "load_bearing": (
        (("with something resting on top", "that must carry something"), ("that hold something up",)),
        (("with nothing resting on top", "that need not carry anything"), ("that hold nothing up",)),
    ),
    "free_surface": (
        (("with room on top for a cup", "I could put my cup on"), ("with a free spot for a cup",)),
        (("without room on top for a cup", "I could not put my cup on"), ("with no free spot for a cup",)),
    ),
    "lying": (((("lying on the side"), ("that fell over")), ("tipped over on the side",)), ((("not lying on the side"),), ("that have not fallen over",))),
}  # fmt: skip

# How a later round points at a thing of an earlier answer, as (train, held out).
POINTERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "it": (("it", "that one", "that thing"), ("this one", "that object")),
    "noun": (("that {n}", "the {n} you found", "the {n} from before", "the {n} we spoke of"), ("this {n}", "the {n} you found before")),
    "index": (("the thing from round {number}", "what you marked in round {number}", "your {k} answer", "the {k} thing you marked"), ("the object from round {number}", "the {k} thing you found")),
    "sided": (("the {side} of them", "the {side} of these", "the {side} one of those"), ("the {side} among them", "the {side} of those")),
}  # fmt: skip
# Follow-ups with words of their own. {that} is a clause of CLAUSES.
FOLLOW: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "its_part": (("only its {p}", "now just its {p}", "show me its {p}", "its {p}", "mark its {p} only"), ("now only its {p}", "please show its {p}")),
    "part_of": (("the {p} of {x}", "only the {p} of {x}", "now the {p} of {x}"), ("just the {p} of {x}", "show me only the {p} of {x}")),
    "other_one": (("the other one", "no, the other one", "now the other {n}", "I meant the other {n}"), ("not that one, the other", "please show the other {n}")),
    "others": (("the others", "all the other {ns}", "now the other {ns}", "show me the others of its kind"), ("the others like it", "and all other {ns}")),
    "of_those": (("of those, the ones {that}", "only the ones {that}", "among them, the ones {that}", "keep the ones {that}"), ("of these, only the ones {that}", "now just the ones {that}")),
    "coloured_of_those": (("only the {c} ones", "of those, whatever is {c}", "keep what is {c}", "just the {c} part of them"), ("of these, only what is {c}", "now just the {c} ones")),
    "rest": (("everything else on the table", "now all the other things on the table", "all the rest on the table", "the opposite: all other things on the table"), ("the rest of the things on the table", "and everything else on the table")),
}  # fmt: skip

_MORE = json.loads(resources.files("askmask.world").joinpath("paraphrases.json").read_text(encoding="utf-8"))
FRAMES_TRAIN = (*FRAMES_TRAIN, *_MORE["frames"])
BANK = {kind: ((*train, *_MORE["templates"][kind]), held) for kind, (train, held) in BANK.items()}


def _widened(name: str, side: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    train, held = CLAUSES[name][side]
    return (*train, *_MORE["clauses"][name][side]), held


CLAUSES = {name: (_widened(name, 0), _widened(name, 1)) for name in CLAUSES}
