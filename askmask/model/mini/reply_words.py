"""Replies as numbers, and back: a closed vocabulary, and signs around the words that have a mask.

    [BEGIN] [FOUND] I see [OBJ] the red mug [SEG] and [OBJ] two blue books [SEG] . [END]

The second sign says what kind of reply it is. A phrase `[OBJ] ... [SEG]` names what one mask shows; signs are never
shown. Any row of numbers can be read: one that breaks the rules says how.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from askmask.errors import DataError
from askmask.model.grammar import Phrase, PhraseReader, told

SIGNS = ("[PAD]", "[BEGIN]", "[FOUND]", "[NOTHING]", "[ALONE]", "[OBJ]", "[SEG]", "[END]")
PAD, BEGIN, FOUND, NOTHING, ALONE, OBJ, SEG, END = range(len(SIGNS))
KINDS = (FOUND, NOTHING, ALONE)  # with masks; nothing matches; words alone, such as a question back
LONGEST = 96  # numbers in a reply; what is longer is cut
_WORD = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")
_CLOSE = frozenset(".,:;?!)")  # stand close to the word before
_STOP = frozenset(".?!")


@dataclass(frozen=True)
class Said:
    """A reply as it was read."""

    text: str
    phrases: tuple[Phrase, ...]
    kind: int  # of KINDS; PAD if there is none
    trouble: str = ""  # how it breaks the rules; its phrases then count for nothing


class Writer:
    """Words -> text, one after the other."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, word: str) -> str:
        """Append a word or a sign of punctuation; return what that adds to the text."""
        opens = not self.text or self.text[-1] in _STOP
        apart = " " if self.text and word not in _CLOSE else ""
        piece = apart + (word[:1].upper() + word[1:] if opens else word)
        self.text += piece
        return piece


class ReplyWords:
    """The vocabulary: signs first, then words in the order given."""

    def __init__(self, words: Iterable[str]):
        self.names = (*SIGNS, *words)
        self.numbers = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, text: str, spans: Iterable[tuple[int, int]], kind: int) -> list[int]:
        """Return a reply as numbers, its phrases (spans of the text) in order. Raises DataError for a new word."""
        places = sorted(set(spans))
        found, at, opens = [BEGIN, kind], 0, True
        pieces = [(text[:0], False)]
        for start, end in places:
            pieces += [(text[at:start], False), (text[start:end], True)]
            at = end
        for piece, named in (*pieces, (text[at:], False)):
            words, opens = _split(piece, opens)
            if unknown := [word for word in words if word not in self.numbers]:
                raise DataError("a reply has words that the reply vocabulary lacks", got=", ".join(unknown))
            numbers = [self.numbers[word] for word in words]
            found += [OBJ, *numbers, SEG] if named else numbers
        return [*found, END]

    def read(self, ids: Sequence[int]) -> Said:
        """Read the numbers of a reply, up to its [END]; see `Said.trouble`."""
        writer, reader = Writer(), PhraseReader()
        kind = ids[1] if len(ids) > 1 and ids[0] == BEGIN and ids[1] in KINDS else PAD
        ended = False
        for at, number in enumerate(ids[2:], 2):
            if number == END:
                ended = True
                break
            if number == OBJ:
                reader.obj(at)
            elif number == SEG:
                reader.seg(at, len(writer.text))
            elif number < len(SIGNS):
                reader.troubles.append(f"{SIGNS[number]} stands inside")
            else:
                piece = writer.add(self.names[number])
                reader.words(len(writer.text) - len(piece.lstrip()))
        reader.end()
        troubles = [*reader.troubles]
        troubles += [] if ended else ["it has no end"]
        troubles += ["it does not say what kind it is"] if kind == PAD else []
        if bool(reader.phrases) != (kind == FOUND) and not troubles:
            troubles.append("it names nothing" if kind == FOUND else "it names what it says is not there")
        return Said(writer.text, tuple(reader.phrases), kind, told(troubles))


def words_in(texts: Iterable[str]) -> set[str]:
    """Return the words of some replies, as a vocabulary needs them."""
    return {word for text in texts for word in _split(text, True)[0]}


def _split(text: str, opens: bool) -> tuple[list[str], bool]:
    """Split into words; those that open a sentence lose their capital. And whether what follows opens one."""
    words = []
    for word in _WORD.findall(text):
        words.append(word[0].lower() + word[1:] if opens and not re.fullmatch("I(?:'.*)?", word) else word)
        opens = word in _STOP
    return words, opens
