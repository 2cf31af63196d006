"""A small network for what needs some weights, and not those of the package."""

import pytest


@pytest.fixture(scope="session")
def small_mini(tmp_path_factory):
    """A folder with a tenth of `mini`, at random: what training keeps and counts does not hang on what is known."""
    import torch

    from askmask.model.checkpoint import save_checkpoint
    from askmask.model.config import NetConfig
    from askmask.model.mini.net import Mini
    from tests.model.test_mini import SIZES

    torch.manual_seed(3)
    config = NetConfig(
        name="mini",
        backend="mini",
        compute="float32",
        segmenter=SIZES.to_dict(),
        prompt_encoder={},
        trained_heads={"score": True, "presence": True},
    )
    return save_checkpoint(tmp_path_factory.mktemp("small-mini"), config, Mini(SIZES).state_dict(), {})
