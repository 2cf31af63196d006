"""Scores of replies in words: BLEU-4, ROUGE-L, METEOR, Dist-1/2.

One tokenizer for all of them: lower case, words and single punctuation marks, single characters in scripts that are
written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese); special tokens such as [SEG] or <image> are left
out. All scores lie in 0..1; papers often print them times 100.

Sources: BLEU Papineni et al. 2002 (sacrebleu), ROUGE Lin 2004 (rouge-score), METEOR Banerjee and Lavie 2005 with
nltk's parameters (alpha 0.9, beta 3, gamma 0.5), Dist-n Li et al. 2016.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Round
from askmask.errors import DataError, MissingExtra
from askmask.evaluation.truth import item_id, read_id
from askmask.runs.json_text import read_rows

_SPECIAL = re.compile(r"\[[A-Z]{2,}\]|<[^<>\s]{1,40}>|\{seg\}")
# Scripts without spaces between words, by blocks of Unicode: Thai and Lao, Burmese, Khmer, kana, ideographs.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+|[^\w\s]")
TOKENIZER = (
    r"lower case; one character of scripts without spaces|\w+|[^\w\s]; without [CAPITALS], <...>, {seg}"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """The reply that a prompt should get."""

    id: str
    text: str


def tokenize(text: str) -> list[str]:
    """Split into the tokens that all scores here count."""
    return _TOKEN.findall(_SPECIAL.sub(" ", text).lower())


def words_of(round: Round) -> str | None:
    """Return the gold reply of a round if its words count: those of a segmentation round are a template."""
    return round.reply if round.reply and not _SPECIAL.search(round.reply) else None


def references_of(examples: Iterable[Example]) -> Iterator[Reference]:
    """Yield the gold replies, but not those of a segmentation round, whose words are a template."""
    for example in examples:
        for index, round in enumerate(example.rounds):
            if (words := words_of(round)) is not None:
                yield Reference(item_id(example, index), words)


def read_texts(path: str | Path) -> dict[str, str]:
    """Read {id: text} of a prediction file, or of all predictions*.jsonl and replies*.jsonl of a folder."""
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted([*path.glob("predictions*.jsonl"), *path.glob("replies*.jsonl")])
    texts: dict[str, str] = {}
    for file in files:
        for number, row in read_rows(file):
            name, text = read_id(row, f"{file}, line {number}: a reply"), row.get("text")
            if name in texts:
                raise DataError(f"{file}, line {number}: id {name!r} is answered twice")
            if text is not None and not isinstance(text, str):
                raise DataError(f'{file}, line {number}: "text" must be text', got=repr(text)[:80])
            if text is not None:
                texts[name] = text
    return texts


def text_scores(texts: Mapping[str, str], references: Iterable[Reference]) -> dict[str, Any]:
    """Score replies against references. A missing reply is scored as an empty one and counted.

    METEOR matches synonyms only where nltk finds WordNet on this machine; `METEOR_synonyms` says whether it did,
    and numbers with and without are not comparable. Dist-n depends on the number of replies: compare equal sets.
    """
    wanted = list(references)
    ids: set[str] = set()
    for reference in wanted:
        if reference.id in ids:
            raise DataError(
                f"id {reference.id!r} is in the ground truth twice", do="Give every item its own id."
            )
        ids.add(reference.id)
    if not wanted:
        raise DataError("the ground truth holds no reply in words")
    gold = [tokenize(reference.text) for reference in wanted]
    said = [tokenize(texts.get(reference.id, "")) for reference in wanted]
    meteor, synonyms = _meteor(said, gold)
    return {
        "n": len(wanted),
        "n_missing": sum(reference.id not in texts for reference in wanted),
        "BLEU-4": _bleu(said, gold),
        "ROUGE-L": _rouge(said, gold),
        "METEOR": meteor,
        "METEOR_synonyms": synonyms,
        "Dist-1": distinct(said, 1),
        "Dist-2": distinct(said, 2),
        "tokenizer": TOKENIZER,
    }


def distinct(replies: Sequence[Sequence[str]], n: int) -> float | None:
    """Return different n-grams over all n-grams of all replies; None where there is none."""
    grams = [tuple(reply[i : i + n]) for reply in replies for i in range(len(reply) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _bleu(said: list[list[str]], gold: list[list[str]]) -> float:
    """Corpus BLEU-4 without smoothing: one order without any match makes it 0."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtra("sacrebleu", "eval") from error
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    hypotheses, references = ([" ".join(tokens) for tokens in side] for side in (said, gold))
    return float(metric.corpus_score(hypotheses, [references]).score) / 100


def _rouge(said: list[list[str]], gold: list[list[str]]) -> float:
    """Mean F1 of the longest common subsequence (beta 1)."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtra("rouge-score", "eval") from error

    class Split:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    scorer = RougeScorer(["rougeL"], tokenizer=Split())
    values = [
        scorer.score(" ".join(g), " ".join(s))["rougeL"].fmeasure for s, g in zip(said, gold, strict=True)
    ]
    return float(sum(values) / len(values))


def _meteor(said: list[list[str]], gold: list[list[str]]) -> tuple[float, bool]:
    """Mean METEOR, and whether synonyms could be matched. Nothing is downloaded."""
    try:
        from nltk.corpus import wordnet
        from nltk.translate.meteor_score import meteor_score
    except ImportError as error:
        raise MissingExtra("nltk", "eval") from error

    class NoSynonyms:
        def synsets(self, word: str) -> list[Any]:
            return []

    try:
        wordnet.synsets("dog")
        source, synonyms = wordnet, True
    except LookupError:
        source, synonyms = NoSynonyms(), False
    values = [meteor_score([g], s, wordnet=source) for s, g in zip(said, gold, strict=True)]
    return float(sum(values) / len(values)), synonyms
