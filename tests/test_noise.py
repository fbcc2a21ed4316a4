"""Noise is a function of its address, and is distributed as it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreamgym import noise

MASK = (1 << 64) - 1
MANY = 100_000
DRAWS = pytest.mark.parametrize("draw", [noise.uniform, noise.normal])
Draw = Callable[[Tensor, Tensor, int], Tensor]


def words(*values: int) -> Tensor:
    """Unsigned 64-bit words as the signed integers that torch knows."""
    return torch.tensor([value - (1 << 64) if value >> 63 else value for value in values])


def finalise(x: int) -> int:
    """SplitMix64's finaliser in Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def numbers(draw: Draw, seed: int = 3, episode: int = 0, step: int = 0, lanes: int = 64) -> Tensor:
    """The numbers (lanes,) of one address, drawn alone."""
    keys = noise.key(torch.tensor([seed]), torch.tensor([episode]))
    return draw(keys, torch.tensor([step]), lanes)[0]


def distance(sample: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """Kolmogorov's and Smirnov's distance between a sample and a distribution."""
    expected = cdf(sample.double().sort().values)
    rank = torch.arange(len(sample) + 1) / len(sample)
    return float(torch.maximum(rank[1:] - expected, expected - rank[:-1]).max())


def test_mix_is_the_finaliser_of_splitmix64() -> None:
    values = [0, 1, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, MASK, 0x0123456789ABCDEF]
    assert noise.mix(words(*values)).tolist() == words(*map(finalise, values)).tolist()


def test_mix_gives_the_published_numbers_of_splitmix64() -> None:
    counter = torch.arange(1, 4) * noise.GOLDEN
    published = words(6457827717110365317, 3203168211198807973, 9817491932198370423)
    assert torch.equal(noise.mix(1234567 + counter), published)


@DRAWS
@pytest.mark.parametrize("lanes", [2, 64, 130])
def test_a_number_is_the_same_alone_and_in_every_batch(draw: Draw, lanes: int) -> None:
    seeds, episodes, steps = torch.arange(100), torch.arange(100) % 3, torch.arange(100) % 7
    batch = draw(noise.key(seeds, episodes), steps, lanes)
    for size in (1, 3, 16, 33):
        part = draw(noise.key(seeds[:size], episodes[:size]), steps[:size], lanes)
        assert torch.equal(part, batch[:size])


@DRAWS
def test_a_number_is_the_same_in_every_order(draw: Draw) -> None:
    keys, steps = noise.key(torch.arange(50), torch.arange(50) % 3), torch.arange(50) % 7
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw(keys[order], steps[order], 64), draw(keys, steps, 64)[order])


def test_a_number_is_the_same_however_many_are_drawn() -> None:
    keys, steps = noise.key(torch.arange(5), torch.zeros(5).long()), torch.arange(5)
    all_words = noise.uniform(keys, steps, lanes=8)  # words 0 to 3, first halves then second
    assert torch.equal(noise.uniform(keys, steps, lanes=4, first=2), all_words[:, [2, 3, 6, 7]])


@DRAWS
@pytest.mark.parametrize("change", ["seed", "episode", "step"])
@pytest.mark.parametrize("value", [4, 5, 1_000_003])
def test_another_address_gives_unrelated_numbers(draw: Draw, change: str, value: int) -> None:
    lanes = 10_000
    one, other = numbers(draw, lanes=lanes), numbers(draw, lanes=lanes, **{change: value})
    assert (one == other).float().mean() < 0.001
    assert abs(torch.corrcoef(torch.stack((one, other)))[0, 1]) < 4 / math.sqrt(lanes)


@DRAWS
def test_neighbouring_lanes_are_unrelated(draw: Draw) -> None:
    row = numbers(draw, lanes=20_000)
    for one, other in ((row[:-1], row[1:]), row.chunk(2)):  # a word's two numbers are 10,000 apart
        assert (one == other).float().mean() < 0.001
        assert abs(torch.corrcoef(torch.stack((one, other)))[0, 1]) < 4 / math.sqrt(len(one))


def test_ten_thousand_seeds_give_as_many_dreams() -> None:
    seeds = torch.arange(10_000)
    keys = noise.key(seeds, torch.zeros_like(seeds))
    first = noise.uniform(keys, torch.zeros_like(seeds), lanes=2)  # one alone has 23 bits: repeats
    assert len(keys.unique()) == 10_000
    assert len(set(map(tuple, first.tolist()))) == 10_000


def test_no_two_addresses_share_a_word() -> None:
    seeds, episodes, steps = (
        axis.flatten() for axis in torch.meshgrid(*[torch.arange(4)] * 3, indexing="ij")
    )
    halves = noise.uniform(noise.key(seeds, episodes), steps, lanes=2000)
    high, low = (halves * 2**noise.BITS).long().chunk(2, dim=1)
    assert len((high * 2**noise.BITS + low).unique()) == 64 * 1000


def test_an_episode_is_no_other_seeds_episode() -> None:
    seeds, episodes = torch.tensor([7, 7 + noise.GOLDEN]), torch.tensor([1, 0])
    one, other = noise.key(seeds, episodes).tolist()
    assert one != other


@pytest.mark.parametrize(("word", "number"), [(0, 2**-24), (-1, 1 - 2**-24)])
def test_the_extreme_words_stay_inside_0_and_1(
    monkeypatch: pytest.MonkeyPatch, word: int, number: float
) -> None:
    monkeypatch.setattr(noise, "mix", lambda x: torch.full_like(x, word))
    drawn = noise.uniform(torch.tensor([0]), torch.tensor([0]), lanes=4)
    assert drawn.tolist() == [[number] * 4]


def test_the_extreme_words_give_finite_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "mix", torch.zeros_like)
    drawn = noise.normal(torch.tensor([0]), torch.tensor([0]), lanes=2)
    torch.testing.assert_close(drawn, torch.tensor([[math.sqrt(48 * math.log(2)), 0.0]]),
                               rtol=1e-5, atol=1e-5)  # fmt: skip


def test_uniform_has_the_moments_of_a_uniform() -> None:
    drawn = numbers(noise.uniform, lanes=MANY).double()
    for power in (1, 2, 3, 4):
        spread = math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        assert abs(drawn.pow(power).mean() - 1 / (power + 1)) < 4 * spread / math.sqrt(MANY)


def test_normal_has_the_moments_of_a_normal() -> None:
    drawn = numbers(noise.normal, lanes=MANY).double()
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # variance of xᵖ
        assert abs(drawn.pow(power).mean() - moment) < 4 * math.sqrt(spread / MANY)


def test_uniform_has_the_distribution_of_a_uniform() -> None:
    assert distance(numbers(noise.uniform, lanes=MANY), lambda x: x) < 1.63 / math.sqrt(MANY)


def test_normal_has_the_distribution_of_a_normal() -> None:
    cdf = torch.distributions.Normal(0, 1).cdf
    assert distance(numbers(noise.normal, lanes=MANY), cdf) < 1.63 / math.sqrt(MANY)


def test_first_numbers_of_neighbouring_seeds_are_uniform() -> None:
    seeds = torch.arange(MANY)
    first = noise.uniform(noise.key(seeds, 0 * seeds), 0 * seeds, lanes=2)[:, 0]
    assert distance(first, lambda x: x) < 1.63 / math.sqrt(MANY)
