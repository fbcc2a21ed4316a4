"""V is the paper's VAE, layer by layer and nat by nat."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from dreamgym.models.vae import VAE, VisionConfig, pixels, sample, weights

Z = 32
PIXELS = 3 * 64 * 64


def frames(n: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 64, 64, 3), dtype=torch.uint8, generator=generator)


def vision(z_size: int = Z, **config: float) -> VAE:
    torch.manual_seed(0)
    return VAE(VisionConfig(z_size=z_size, **config))


def told(mean: float, logvar: float = 0.0, **config: float) -> VAE:
    """A V whose posterior is N(mean, exp(logvar)) in every dimension and whose pixels are 1/2."""
    model = vision(**config)
    for layer in (model.mean, model.logvar, model.decoder[-1]):
        nn.init.zeros_(layer.weight)
    nn.init.constant_(model.mean.bias, mean)
    nn.init.constant_(model.logvar.bias, logvar)
    nn.init.zeros_(model.decoder[-1].bias)
    return model


def plain(model: VAE, z: Tensor) -> Tensor:
    """The paper's decoder in stock layers."""
    first, second, third, last = model.decoder
    x = model.dense(z)[:, :, None, None]
    return torch.sigmoid(last(F.relu(third(F.relu(second(F.relu(first(x))))))))


@pytest.mark.parametrize(("z_size", "count"), [(32, 4_348_547), (64, 4_446_915)])
def test_parameters_are_as_many_as_the_papers(z_size: int, count: int) -> None:
    assert sum(p.numel() for p in vision(z_size).parameters()) == count


def test_encoder_layers_have_the_papers_shapes() -> None:
    model, seen = vision(), []
    for layer in model.encoder:
        layer.register_forward_hook(lambda _module, _args, out: seen.append(tuple(out.shape[1:])))
    model.encode(frames())
    assert seen == [(32, 31, 31), (64, 14, 14), (128, 6, 6), (256, 2, 2)]


def test_encoding_is_one_float32_gaussian_a_frame() -> None:
    for part in vision().encode(frames(3)):
        assert part.shape == (3, Z)
        assert part.dtype == torch.float32


def test_pixels_keep_rows_columns_and_channels_apart() -> None:
    frame = torch.zeros((1, 64, 64, 3), dtype=torch.uint8)
    frame[0, 5, 7, 2] = 255
    frame[0, 9, 1, 0] = 51
    x = pixels(frame)
    assert x.shape == (1, 3, 64, 64)
    assert x[0, 2, 5, 7] == 1
    assert x[0, 0, 9, 1] == pytest.approx(0.2)
    assert x.count_nonzero() == 2


def test_decoder_equals_stock_layers() -> None:
    model, z = vision(), torch.randn(3, Z, generator=torch.Generator().manual_seed(2))
    assert model.decode(z).shape == (3, 3, 64, 64)
    torch.testing.assert_close(model.decode(z), plain(model, z), rtol=1e-5, atol=1e-6)


def test_decoder_has_the_gradients_of_stock_layers() -> None:
    model, target = vision(), pixels(frames(3))
    z = torch.randn(3, Z, generator=torch.Generator().manual_seed(2), requires_grad=True)
    wanted = [z, *model.dense.parameters(), *model.decoder.parameters()]
    ours, stock = (
        torch.autograd.grad((output - target).square().sum(), wanted)
        for output in (model.decode(z), plain(model, z))
    )
    for mine, theirs in zip(ours, stock, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_decoder_in_bf16_is_near_stock_layers_in_fp32() -> None:
    model, z = vision(), torch.randn(2, Z, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.decode(z)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, plain(model, z), rtol=0, atol=0.01)


def test_sample_scales_the_noise_by_the_standard_deviation() -> None:
    variance = torch.tensor([[1.0, 4.0, 9.0]])
    z = sample(torch.tensor([[10.0, 20.0, 30.0]]), variance.log(), torch.tensor([[1.0, -1.0, 2.0]]))
    torch.testing.assert_close(z, torch.tensor([[11.0, 18.0, 36.0]]))


def test_kl_is_that_of_torch_distributions() -> None:
    model = vision()
    with torch.no_grad():
        model.mean.weight.mul_(30)
        model.logvar.weight.mul_(30)
    mean, logvar = model.encode(frames())
    expected = kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(0, 1)).sum(1).mean()
    torch.testing.assert_close(model.loss(frames())[1]["kl"], expected.detach())


def test_error_is_summed_over_pixels_and_averaged_over_frames() -> None:
    black_and_white = torch.zeros((2, 64, 64, 3), dtype=torch.uint8)
    black_and_white[1] = 255
    _, parts = told(mean=0).loss(black_and_white)
    assert float(parts["error"]) == PIXELS / 4


def test_loss_is_weighted_error_plus_kl() -> None:
    model = told(mean=2, reconstruction=4)
    loss, _ = model.loss(torch.zeros((2, 64, 64, 3), dtype=torch.uint8))
    assert float(loss.detach()) == pytest.approx(4 * PIXELS / 4 + 0.5 * 2**2 * Z)


def test_kl_below_the_floor_costs_the_floor() -> None:
    model = told(mean=0.1, reconstruction=0)
    loss, parts = model.loss(frames())
    assert float(parts["kl"]) == pytest.approx(0.5 * 0.1**2 * Z, rel=1e-3)
    assert float(loss.detach()) == 0.5 * Z


def test_kl_below_the_floor_pulls_at_nothing() -> None:
    for mean, pull in ((0.1, 0.0), (2.0, 2.0)):
        model = told(mean, reconstruction=0)
        model.loss(frames())[0].backward()
        torch.testing.assert_close(model.mean.bias.grad, torch.full((Z,), pull))


def test_the_floor_is_of_each_frame_not_of_their_mean() -> None:
    model = told(mean=0, reconstruction=0)
    with torch.no_grad():  # the white frame's features move one dimension far, the black's do not
        for layer in model.encoder:
            layer.bias.zero_()
        model.mean.weight[0] = 1.0
    black_and_white = torch.zeros((2, 64, 64, 3), dtype=torch.uint8)
    black_and_white[1] = 255
    with torch.no_grad():
        model.mean.weight[0] *= 8 / model.encode(black_and_white)[0][1, 0]
    loss, _ = model.loss(black_and_white)
    assert float(loss.detach()) == pytest.approx((0.5 * Z + 0.5 * 8**2) / 2, rel=1e-4)


def looking_at(model: VAE) -> VAE:
    """Let a V draw each latent as 384 of a picture's numbers, instead of decoding it."""
    model.decode = lambda z: z.repeat_interleave(PIXELS // Z, 1).view(-1, 3, 64, 64)  # type: ignore
    return model


@pytest.mark.parametrize("variance", [1e-6, 0.25, 4.0])
def test_the_error_rises_by_the_variance_of_what_is_sampled(variance: float) -> None:
    """E(μ + σε - x)² = (μ - x)² + σ²: V is trained on samples, not on means."""
    model = looking_at(told(3.0, math.log(variance)))
    torch.manual_seed(0)
    _, parts = model.loss(torch.zeros((64, 64, 64, 3), dtype=torch.uint8))
    expected = 3.0**2 + variance
    spread = math.sqrt((4 * 3**2 * variance + 2 * variance**2) / (64 * Z))
    assert float(parts["error"]) / PIXELS == pytest.approx(expected, abs=4 * spread + 1e-5)


def test_the_variance_is_learned_through_the_samples() -> None:
    """d E(error) / d log σ² = σ² a number; and of the KL term ½ (σ² - 1)."""
    model = looking_at(told(3.0, math.log(4.0), reconstruction=2.0))
    torch.manual_seed(0)
    model.loss(torch.zeros((64, 64, 64, 3), dtype=torch.uint8))[0].backward()
    pull = model.logvar.bias.grad.mean()  # of one dimension, which draws a Z-th of the picture
    assert float(pull) == pytest.approx(2 * PIXELS / Z * 4 + 0.5 * (4 - 1), rel=0.15)


def test_each_frame_and_dimension_is_sampled_with_noise_of_its_own() -> None:
    model, seen = told(0.0), []
    model.decode = lambda z: seen.append(z) or torch.zeros(len(z), 3, 64, 64)  # type: ignore
    torch.manual_seed(0)
    for _ in range(2):
        model.loss(frames(3))
    drawn = torch.stack(seen).flatten().tolist()
    assert len(set(drawn)) == len(drawn) == 2 * 3 * Z


def test_a_rare_pixel_weighs_more_and_the_mean_weight_is_one() -> None:
    pictures = torch.zeros(4, 3, 64, 64)
    pictures[0, :, 5, 7] = 1.0  # 3/4 · √3 from the mean, the others 1/4 · √3
    found = weights(pictures, 0.5)
    assert found.shape == (4, 1, 64, 64) and found.mean().item() == pytest.approx(1)
    every = 64 * 64 * 4 / (0.75 + 3 * 0.25)  # of a unit of distance
    assert found[0, 0, 5, 7].item() == pytest.approx(0.5 + 0.5 * 0.75 * every, rel=1e-4)
    assert found[1, 0, 5, 7].item() == pytest.approx(0.5 + 0.5 * 0.25 * every, rel=1e-4)
    assert found[2, 0, 0, 0].item() == 0.5
    assert torch.equal(weights(pictures, 0.0), torch.ones_like(found))
    assert torch.isfinite(weights(torch.zeros_like(pictures), 1.0)).all()  # nothing is rare


def test_the_loss_goes_by_the_weights() -> None:
    torch.manual_seed(0)
    v, frames = VAE(VisionConfig(4)), torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8)
    plain, rare = (v.loss(frames, share)[1]["error"].item() for share in (0.0, 1.0))
    assert plain != rare
    flat = frames[:1].expand(6, -1, -1, -1).clone()
    flat[0] = 255 - flat[0]
    assert v.loss(flat, 1.0)[1]["error"].item() > 0
