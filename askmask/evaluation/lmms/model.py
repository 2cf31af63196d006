"""`--model askmask` in lmms-eval: answers every prompt with masks as JSON text. Needs lmms-eval.

    lmms-eval --model askmask --model_args name=mini --device cuda --tasks askmask_converseg_human \\
        --include_path "$(python -c 'import askmask.evaluation.lmms as p; print(p.TASKS)')"
"""

from __future__ import annotations

from typing import Any

from lmms_eval.api.model import lmms

import askmask
from askmask.errors import AskMaskError
from askmask.evaluation.lmms.wire import to_wire
from askmask.evaluation.predict import prediction_of


class AskMask(lmms):
    """One of askmask's models behind lmms-eval's text interface; prompts on one picture share its encoding."""

    is_simple = True

    def __init__(
        self,
        name: str = "mini",
        pretrained: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        protocol: str | None = None,
        batch_size: int | str = 1,
        **_: Any,
    ) -> None:
        super().__init__()
        self.model = askmask.load(pretrained or name, device=device, dtype=dtype, protocol=protocol)
        self.batch_size = batch_size
        self._picture: tuple[tuple[Any, ...], Any] | None = None

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Answer each request; one that cannot be answered becomes an empty text, which tasks count as missing."""
        answers = []
        for request in requests:
            context, _, doc_to_visual, doc_id, task, split = request.args
            doc = self.task_dict[task][split][doc_id]
            prompt = doc.get("expression") or doc.get("prompt") or context
            try:
                session = self._session((task, split, doc.get("image_id", doc_id)), doc_to_visual, doc)
                (answer,) = session.ask_many([prompt])
            except AskMaskError:
                answers.append("")
                continue
            said = prediction_of("", answer).no_target
            scores = answer.scores if answer.score_trained else ()
            answers.append(to_wire(answer.masks, scores, no_target=said, text=answer.text))
        return answers

    def _session(self, key: tuple[Any, ...], doc_to_visual: Any, doc: Any) -> Any:
        if self._picture is None or self._picture[0] != key:
            (picture, *_) = doc_to_visual(doc)
            self._picture = (key, self.model.open(picture))
        return self._picture[1]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refuse: masks have no likelihood of a text."""
        raise NotImplementedError("askmask answers with masks; it has no likelihood of texts")

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Refuse: lmms-eval's rounds are built from texts."""
        raise NotImplementedError("use `askmask eval` for conversations")
