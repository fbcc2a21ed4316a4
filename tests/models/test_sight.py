"""V of pictures and rewards: z holds both, and gives both back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym.models.sight import PIXELS, Sight, SightConfig, pictures, rewards
from dreamgym.models.standard import EXACT, Standard, StandardConfig


def frames(paid: list[float], seed: int = 0) -> Tensor:
    """Frames (N, 12292) of random pictures and these squeezed rewards."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 256, (len(paid), PIXELS), np.uint8)
    told = np.array(paid, np.float32)[:, None].view(np.uint8)
    return torch.from_numpy(np.concatenate((shown, told), 1))


def sight(latents: int = 6) -> Sight:
    torch.manual_seed(0)
    v = Sight(SightConfig(latents)).eval()
    v.standard.mean.fill_(2.0)
    v.standard.deviation.fill_(4.0)
    return v


@pytest.mark.parametrize("paid", [[0.5], [0.0, -1.25, 3.0]])
def test_a_frame_is_a_picture_and_a_reward(paid: list[float]) -> None:
    seen = frames(paid)
    assert rewards(seen)[:, 0].tolist() == paid
    assert torch.equal(pictures(seen).flatten(1), seen[:, :PIXELS])


def test_z_is_that_of_the_picture_and_then_the_standardised_reward() -> None:
    v, seen = sight(), frames([0.0, -1.25, 3.0])
    mean, logvar = v.encode(seen)
    assert mean.shape == logvar.shape == (3, v.config.z_size) == (3, 8)
    theirs = v.vae.encode(pictures(seen))
    assert torch.equal(mean[:, :6], theirs[0]) and torch.equal(logvar[:, :6], theirs[1])
    assert mean[:, 6].tolist() == [-0.5, -0.8125, 0.25]
    assert not mean[:, 7].any() and torch.all(logvar[:, 6:] == EXACT)


def test_the_reward_is_read_off_z_and_no_greater_than_any_seen() -> None:
    v = sight()
    mean, _ = v.encode(frames([0.0, -1.25, 3.0]))
    on = torch.zeros(3, dtype=torch.bool)
    assert v.reward(mean, on).tolist() == pytest.approx([0, -np.expm1(1.25), np.expm1(3)])
    v.standard.paid.copy_(torch.tensor([-1.0, 2.0]))
    assert v.reward(mean, on).tolist() == pytest.approx([0, -np.expm1(1), np.expm1(2)])


def test_the_last_number_of_z_is_the_reward_of_an_end() -> None:
    v = sight()
    mean, _ = v.encode(frames([3.0, 3.0]))
    mean[:, -1] = v.encode(frames([-1.25]))[0][0, -2]  # as M might foretell it
    paid = v.reward(mean, torch.tensor([False, True]))
    assert paid.tolist() == pytest.approx([np.expm1(3), -np.expm1(1.25)])


@pytest.mark.parametrize("inputs", [1, 2, 5, 6])
def test_numbers_come_back_from_z_of_which_the_last_two_are_the_reward_and_0(inputs: int) -> None:
    v = Standard(StandardConfig(inputs))
    v.mean.copy_(torch.arange(inputs))
    v.deviation.copy_(torch.arange(1, inputs + 1))
    seen = torch.randn(4, inputs, generator=torch.Generator().manual_seed(0))
    z, _ = v.encode(seen)
    assert z.shape == (4, v.config.z_size) and v.config.z_size % 2 == 0
    torch.testing.assert_close(v.decode(z), seen)
    torch.testing.assert_close(z[:, -2] * inputs + inputs - 1, seen[:, -1])
    assert not z[:, inputs - 1 : -2].any() and not z[:, -1].any()


def test_the_loss_is_that_of_the_picture_alone() -> None:
    v, other = frames([0.0, 1.0]), frames([5.0, -2.0])
    torch.manual_seed(1)
    loss, parts = sight().loss(v)
    torch.manual_seed(1)
    again, _ = sight().loss(other)
    torch.manual_seed(1)
    theirs, _ = sight().vae.loss(pictures(v))
    assert loss == again == theirs and parts["error"] > 0
