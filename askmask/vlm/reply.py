"""The one reader of model replies: strict first, then lenient; what it cannot read is unreadable, never "nothing".

Lenient means other clothes, not other contents: words or fences around the JSON, thinking before it, one object a
line, a missing bracket, a bare object where a list of them is wanted, single quotes, trailing commas. Whatever is
read must fit the schema; a reply that holds several different answers is unreadable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from askmask.vlm.errors import Quarantined

T = TypeVar("T", bound=BaseModel)
MOST_CHARS = 200_000
MOST_NESTING = 64
MOST_VALUES = 400  # JSON values looked at in one reply
MOST_CLOSERS = 4

_THINKING = re.compile(r"<(/?)(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_FENCED = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
_JSON_LIKE = re.compile(r"\{|\[(?=\s*[\[{\d.\"'-])")
_BETWEEN = re.compile(r"[\s,;]*")
_WORDS = {"True": "true", "False": "false", "None": "null"}


def read_reply(text: str, schema: type[T]) -> T:
    """Return the reply as `schema`; raises Quarantined("parse") with what is wrong, fit to show to the model."""
    if len(text) > MOST_CHARS:
        raise Quarantined("parse", f"a reply of {len(text)} characters; at most {MOST_CHARS} are read")
    text = _after_thinking(text).strip()
    try:
        # Endpoints without structured output like to fence their JSON.
        plain = text.removeprefix("```json").removeprefix("```").removesuffix("```")
        return schema.model_validate_json(plain if text.startswith("```") else text)
    except ValidationError as error:
        complaint = faults_of(error)
    found: dict[str, T] = {}
    values = _values_in(text)
    if len(values) > 1 and (read := _fitting(values, schema)):
        return read  # one object a line, or a list that lost its opening bracket
    for value in values:
        if read := _fitting(value, schema):
            found.setdefault(read.model_dump_json(), read)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        complaint = f"it holds {len(found)} different answers; give one JSON object"
    raise Quarantined("parse", complaint)


def json_values(text: str) -> list[Any]:
    """Return the objects and lists of a reply of any shape, mended where that is safe.

    Raises Quarantined("parse") if there are none, or if one of them is broken: what is cut short must not pass for
    less.
    """
    if len(text) > MOST_CHARS:
        raise Quarantined("parse", f"a reply of {len(text)} characters; at most {MOST_CHARS} are read")
    text = _after_thinking(text).strip()
    if _unfenced(text).endswith((",", ":")):
        raise Quarantined("parse", "the reply is cut short")
    values, broken = _values_in(text), []
    fenced = [found.strip() for found in _FENCED.findall(text)]
    at, source = 0, _unfenced(text) if not any(_values_in(part) for part in fenced) else "\n".join(fenced)
    while found := _JSON_LIKE.search(source, at):
        value, at = _value_at(source, found.start())
        broken += [value] if value is None else []
        if len(broken) > MOST_CLOSERS:
            break
    if broken:
        raise Quarantined("parse", "JSON that is broken or cut short")
    if not values:
        raise Quarantined("parse", "no JSON in it")
    return values


def faults_of(error: ValidationError) -> str:
    """Return the first faults of a reply in words: where, and what."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'reply'}: {fault['msg']}" for fault in error.errors()[:5]
    )


def json_of(text: str) -> Any:
    """Parse JSON from outside. Raises ValueError for all that is none: deep nesting and long numbers included."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _after_thinking(text: str) -> str:
    """Return what stands after all thinking aloud, or before it where nothing comes after."""
    marks = list(_THINKING.finditer(text))
    if not marks:
        return text
    after = text[marks[-1].end() :] if marks[-1][1] else ""
    return after if after.strip() else text[: marks[0].start()]


def _unfenced(text: str) -> str:
    """Return the text without a fence around all of it, or a lone one before or after."""
    text = re.sub(r"^```[\w-]*[ \t]*\n?", "", text)
    return text.removesuffix("```").strip()


def _values_in(text: str) -> list[Any]:
    """Return the objects and lists that stand in a reply, outermost ones only, broken ones mended if they can be.

    What is inside a broken value is not looked at: a list that was cut short must not pass for a shorter list.
    """
    whole = _unfenced(text)
    for source in [*(found.strip() for found in _FENCED.findall(text)), whole]:
        values: list[Any] = []
        at = tried = 0
        while (found := re.compile(r"[\[{]").search(source, at)) and tried < MOST_VALUES:
            start = found.start()
            tried += 1
            value, at = _value_at(source, start)
            # Empty brackets among words are no answer.
            if value is not None and (value or source.strip() == whole == source[start:at].strip()):
                values.append(value)
        if values:
            return values
    return []


def _value_at(text: str, start: int) -> tuple[Any, int]:
    """Return the object or list that begins at `start`, None if it is none, and where it ends."""
    try:
        return json.JSONDecoder(parse_constant=_no_constant).raw_decode(text, start)
    except (ValueError, RecursionError):
        pass
    try:
        mended, end = _mended(text, start)
        return json_of(mended), end
    except ValueError:
        return None, _end_of(text, start)


def _end_of(text: str, start: int) -> int:
    """Return how far the bracket at `start` reaches, to the end if it is never closed."""
    depth = 0
    for found in re.compile(r"[\[\]{}]").finditer(text, start):
        depth += 1 if found[0] in "[{" else -1
        if depth == 0:
            return found.end()
    return len(text)


def _fitting(value: Any, schema: type[T]) -> T | None:
    for shape in _shapes(value, schema):
        try:
            return schema.model_validate_json(json.dumps(shape))
        except (ValidationError, ValueError):
            continue
    return None


def _shapes(value: Any, schema: type[BaseModel]) -> Iterator[Any]:
    """Yield a value as it is, out of a list of one, and as the list that the schema's only field wants."""
    yield value
    if isinstance(value, list) and len(value) == 1:
        yield value[0]
    fields = schema.model_fields
    if len(fields) != 1:
        return
    ((name, field),) = fields.items()
    if getattr(field.annotation, "__origin__", None) is not list:
        return
    if isinstance(value, list):
        yield {name: value}
    elif isinstance(value, dict):
        yield {name: [value]}


def _mended(text: str, start: int) -> tuple[str, int]:
    """Return nearly-JSON as JSON and how far it reaches: double quotes, no trailing commas, Python's words, closers.

    Closers are added only after a whole value: a number in the middle of which a text ends may have been another.
    """
    out: list[str] = []
    open_brackets: list[str] = []
    word = ""
    for end, inside, char in _tokens(text, start):
        if inside:
            out.append(char)  # a whole string
            continue
        if char.isalpha():
            word += char
            continue
        if word:
            out.append(_WORDS.get(word, word))
            word = ""
        if char in "[{":
            open_brackets.append("]" if char == "[" else "}")
            if len(open_brackets) > MOST_NESTING:
                raise ValueError("nested too deep")
        elif char in "]}":
            _drop_comma(out)
            # One inner bracket was forgotten: close it where the outer one ends.
            if len(open_brackets) > 1 and open_brackets[-1] != char == open_brackets[-2]:
                out.append(open_brackets.pop())
            if not open_brackets or open_brackets.pop() != char:
                raise ValueError("brackets that do not match")
        out.append(char)
        if not open_brackets:
            return "".join(out), end  # words after it do not matter
    if word:
        out.append(_WORDS.get(word, word))
    _drop_comma(out)
    last = "".join(out[-1:]).rstrip()
    whole = last[-1:] in ("]", "}", '"') or last in ("true", "false", "null")
    if not whole or len(open_brackets) > MOST_CLOSERS:
        raise ValueError("cut short")
    return "".join(out) + "".join(reversed(open_brackets)), len(text)


def _drop_comma(out: list[str]) -> None:
    while out and out[-1].isspace():
        out.pop()
    if out and out[-1] == ",":
        out.pop()


def _tokens(text: str, at: int) -> Iterator[tuple[int, bool, str]]:
    """Yield (its end, False, character) outside strings, and (its end, True, the string as JSON) for each string."""
    while at < len(text):
        quote = text[at]
        if quote not in "\"'":
            at += 1
            yield at, False, quote
            continue
        end = at + 1
        while end < len(text) and text[end] != quote:
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            raise ValueError("a string that does not end")
        inner, at = text[at + 1 : end], end + 1
        yield at, True, _double_quoted(inner, quote)


def _double_quoted(inner: str, quote: str) -> str:
    if quote == "'":
        inner = inner.replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
    return '"' + inner.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
