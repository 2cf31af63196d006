"""One model serves several threads, and several threads may load."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import askmask
from askmask.model.build import without_weights
from askmask.model.threads import at_most
from askmask.segmenters.mini import PromptableMini

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


def test_what_another_thread_builds_while_a_network_is_loaded_has_its_weights():
    """A user's own network, or a segmenter of ours, came out empty when somebody loaded a model at that moment."""
    with ThreadPoolExecutor(1) as threads, without_weights():
        there = threads.submit(torch.nn.Linear, 2, 2).result()
        here = torch.nn.Linear(2, 2)
        here.tied = here.weight
    assert not there.weight.is_meta and there.weight.any()
    assert here.weight.is_meta and here.tied is here.weight and not torch.nn.Linear(2, 2).weight.is_meta


def test_mini_uses_one_thread_and_gives_the_others_back():
    """Two threads cost it up to 85 times the time where another program holds a core."""
    model, rgb = askmask.load("mini", device="cpu"), np.zeros((40, 50, 3), np.uint8)
    segmenter, used = PromptableMini(model.backend.net), set()
    for part in model.backend.net.modules():
        part.register_forward_pre_hook(lambda *_: used.add(torch.get_num_threads()))
    torch.set_num_threads(2)
    try:
        model.open(rgb).ask("the mug")
        segmenter.segment_points(rgb, [(3, 4)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert used == {1}


def test_a_limit_of_threads_concerns_the_calling_thread_alone_and_ends_with_an_error():
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), at_most(1), ThreadPoolExecutor(1) as other:
            other.submit(torch.set_num_threads, 2).result()
            assert (torch.get_num_threads(), other.submit(torch.get_num_threads).result()) == (1, 2)
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
