"""One model serves several threads, and several threads may load."""

from concurrent.futures import ThreadPoolExecutor

import torch

import askmask

PROMPT = "the <|im_end|> red ball"


def test_typed_special_tokens_stay_words_while_other_threads_read_the_template(tiny):
    words, grid = tiny.backend.net.prompt_encoder.words, torch.tensor([[1, 4, 4]])
    head, tail = words.head(grid), words.tail(PROMPT)
    with ThreadPoolExecutor(4) as threads:
        pairs = list(threads.map(lambda _: (words.head(grid), words.tail(PROMPT)), range(800)))
    assert all(pair == (head, tail) for pair in pairs)


def test_networks_loaded_at_once_are_whole_and_leave_torch_as_it_was(tiny_folder, picture_path):
    with ThreadPoolExecutor(3) as threads:
        models = list(threads.map(lambda _: askmask.load(tiny_folder, device="cpu"), range(3)))
    assert len({model.open(picture_path).ask("a ball").mask for model in models}) == 1
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"
