"""V's compiled convolutions are V's, and a frame has the same bits alone as in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dreamgym.engines import tiles
from dreamgym.engines.convolutions import FRAMES, Convolutions, _limits
from dreamgym.models.vae import VAE, VisionConfig

pytestmark = pytest.mark.skipif(not tiles.supported(), reason="no fused multiply-add here")
SIZES = (0, 1, 2, FRAMES, FRAMES + 3)


def made(short: bool, z_size: int = 32) -> VAE:
    """Return a V whose weights and biases 16 bits hold exactly if `short`."""
    torch.manual_seed(0)
    vision = VAE(VisionConfig(z_size=z_size)).requires_grad_(False)
    for weight in vision.parameters():
        weight.mul_(2)  # as far apart as in a trained V
        if short:
            weight.copy_(weight.half())
    return vision


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 64, 64, 3), np.uint8)


def latents(n: int, z_size: int = 32) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n, z_size)).astype(np.float32)


@pytest.mark.parametrize("z_size", [7, 32, 64])
@pytest.mark.parametrize("short", [True, False])
def test_frames_are_encoded_as_v_does(short: bool, z_size: int) -> None:
    vision, seen = made(short, z_size), frames(3)
    wanted = vision.encode(torch.from_numpy(seen))
    for ours, theirs in zip(Convolutions(vision).encode(seen), wanted, strict=True):
        assert ours.shape == (3, z_size) and ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("z_size", [7, 32, 64])
@pytest.mark.parametrize("short", [True, False])
def test_latents_are_decoded_as_v_does(short: bool, z_size: int) -> None:
    vision, z = made(short, z_size), latents(3, z_size)
    wanted = 255 * vision.decode(torch.from_numpy(z)).permute(0, 2, 3, 1)
    ours = torch.from_numpy(Convolutions(vision).decode(z))
    assert wanted.std() > 2.5
    torch.testing.assert_close(ours.float(), wanted, rtol=0, atol=0.5 + 3e-4)


def test_levels_begin_where_pytorch_rounds_to_them() -> None:
    limits = torch.from_numpy(_limits()[1:-1])
    levels = torch.arange(1, 256)
    for step in range(-50, 50):  # numbers just below a limit, and from it on
        near = (limits.view(torch.int32) + step * (1 - 2 * (limits < 0).int())).view(torch.float32)
        assert torch.equal((255 * torch.sigmoid(near)).round(), (levels - int(step < 0)).float())


@pytest.mark.parametrize("n", SIZES)
def test_a_frame_has_the_same_bits_alone_and_in_a_batch(n: int) -> None:
    convolutions = Convolutions(made(short=True))
    seen, z = frames(max(SIZES)), latents(max(SIZES))
    for some, many in zip(convolutions.encode(seen[:n]), convolutions.encode(seen), strict=True):
        assert np.array_equal(some, many[:n])
    assert np.array_equal(convolutions.decode(z[:n]), convolutions.decode(z)[:n])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_frame_has_the_same_bits_on_any_number_of_threads(n: int) -> None:
    convolutions, before = Convolutions(made(short=True)), torch.get_num_threads()
    seen, z, came = frames(n), latents(n), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            came.append((*convolutions.encode(seen), convolutions.decode(z)))
    finally:
        torch.set_num_threads(before)
    assert all(map(np.array_equal, came[0], came[1])) and all(map(np.array_equal, *came[1:]))


def test_frames_may_lie_anywhere_in_memory() -> None:
    convolutions, seen, z = Convolutions(made(short=False)), frames(4), latents(4)
    for apart, whole in (
        (convolutions.encode(seen[::2])[0], convolutions.encode(seen)[0][::2]),
        (convolutions.decode(z[::2]), convolutions.decode(z)[::2]),
    ):
        assert np.array_equal(apart, whole)
