"""M is the paper's MDN-RNN, and its mixture is a mixture."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig, Prediction, log_likelihood, sample

SMALL = MemoryConfig(z_size=3, action_size=2, hidden=8, mixtures=4)
MANY = 40_000


def memory(config: MemoryConfig = SMALL) -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(config)


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prediction(*shape: int) -> Prediction:
    """Any prediction with K = 4 and Z = 3."""
    logits, mean, logstd = (normals(*shape, 4, 3, seed=i) for i in range(3))
    return Prediction(2 * logits, 3 * mean, 0.5 * logstd, normals(*shape, 2, seed=3))


def mixture(weights: list[float], means: list[float], stds: list[float]) -> Prediction:
    """The same mixture (1, K, 1) for every draw, made of numbers that one can read."""
    parts = (torch.tensor(values)[None, :, None] for values in (weights, means, stds))
    weight, mean, std = parts
    return Prediction(weight.log() + 5, mean, std.log(), torch.zeros(1, 0))  # logits: any constant


def draws(of: Prediction, temperature: float, n: int = MANY) -> Tensor:
    """Draw n numbers from a one-dimensional mixture."""
    generator = torch.Generator().manual_seed(7)
    many = Prediction(*(part.expand(n, *part.shape[1:]) for part in of))
    uniform = torch.rand((n, 1), generator=generator)
    normal = torch.randn((n, 1), generator=generator)
    return sample(many, uniform, normal, torch.full((n, 1), temperature))[:, 0]


def test_parameters_are_as_many_as_documented() -> None:
    for heads in (("death",), ("hit", "death"), ("a", "b", "c")):
        count = sum(p.numel() for p in memory(MemoryConfig(heads=heads)).parameters())
        assert count == 1_676_737 + 513 * (len(heads) - 1)


def test_the_papers_restart_input_makes_the_papers_count() -> None:
    one_more_input = MemoryConfig(action_size=1 + 1, heads=("death",))
    assert sum(p.numel() for p in memory(one_more_input).parameters()) == 1_678_785


def test_the_forget_gate_alone_starts_open() -> None:
    assert memory().bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_a_step_is_the_step_of_stock_lstm() -> None:
    model, stock = memory(), torch.nn.LSTMCell(5, 8)
    with torch.no_grad():
        stock.weight_ih.copy_(model.weight_ih)
        stock.weight_hh.copy_(model.weight_hh)
        stock.bias_ih.copy_(model.bias)
        stock.bias_hh.zero_()
    z, action, h, c = normals(6, 3), normals(6, 2, seed=1), normals(6, 8, seed=2), normals(6, 8)
    _, *state = model.step(z, action, h, c)
    torch.testing.assert_close(tuple(state), stock(torch.cat((z, action), 1), (h, c)))


@pytest.mark.parametrize("training", [True, False])
def test_unroll_equals_repeated_steps(training: bool) -> None:
    model = memory().train(training)
    z, action = normals(5, 7, 3), normals(5, 7, 2, seed=1)
    h, c = normals(5, 8, seed=2), normals(5, 8, seed=3)
    out, last = model.unroll(z, action, (h, c))
    for t in range(7):
        predicted, h, c = model.step(z[:, t], action[:, t], h, c)
        torch.testing.assert_close(out[:, t], h)
        torch.testing.assert_close(tuple(model.predict(out[:, t], z[:, t])), tuple(predicted))
    torch.testing.assert_close(last, (h, c))


def test_unroll_starts_from_zeros() -> None:
    model, z, action = memory(), normals(2, 3, 3), normals(2, 3, 2, seed=1)
    zeros = (torch.zeros(2, 8), torch.zeros(2, 8))
    assert torch.equal(model.unroll(z, action)[0], model.unroll(z, action, zeros)[0])


def test_prediction_has_a_mixture_for_every_dimension() -> None:
    logits, mean, logstd, heads = memory().predict(normals(2, 6, 8), normals(2, 6, 3))
    assert logits.shape == mean.shape == logstd.shape == (2, 6, 4, 3)
    assert heads.shape == (2, 6, 2)


def test_likelihood_is_that_of_torch_distributions() -> None:
    predicted, z = prediction(5, 6), 3 * normals(5, 6, 3, seed=9)
    logits, mean, logstd = (part.mT for part in predicted[:3])  # (5, 6, Z, K)
    reference = MixtureSameFamily(Categorical(logits=logits), Normal(mean, logstd.exp()))
    torch.testing.assert_close(log_likelihood(predicted, z), reference.log_prob(z))


def test_likelihood_of_one_component_is_a_gaussians() -> None:
    value = log_likelihood(mixture([1.0], [3.0], [2.0]), torch.tensor([[7.0]]))
    assert float(value) == pytest.approx(-0.5 * 4 - math.log(2) - 0.5 * math.log(2 * math.pi))


@pytest.mark.parametrize("temperature", [0.0, 1e-4])
def test_a_cold_dream_takes_the_likeliest_components_mean(temperature: float) -> None:
    drawn = draws(mixture([0.3, 0.4, 0.3], [-5.0, 2.0, 9.0], [1.0, 1.0, 1.0]), temperature, 1000)
    assert (drawn - 2).abs().max() <= 5 * math.sqrt(temperature)


def test_samples_at_1_have_the_moments_of_the_mixture() -> None:
    weights, means, stds = [0.2, 0.5, 0.3], [-4.0, 1.0, 3.0], [0.5, 1.0, 2.0]
    drawn = draws(mixture(weights, means, stds), 1.0).double()
    mean = sum(w * m for w, m in zip(weights, means, strict=True))
    rows = list(zip(weights, means, stds, strict=True))
    variance = sum(w * (s**2 + (m - mean) ** 2) for w, m, s in rows)
    fourth = sum(w * ((m - mean) ** 4 + 6 * (m - mean) ** 2 * s**2 + 3 * s**4) for w, m, s in rows)
    assert abs(drawn.mean() - mean) < 4 * math.sqrt(variance / MANY)
    assert abs(drawn.var() - variance) < 4 * math.sqrt((fourth - variance**2) / MANY)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.25])
def test_spread_of_one_component_grows_as_the_root_of_temperature(temperature: float) -> None:
    drawn = draws(mixture([1.0], [10.0], [3.0]), temperature)
    expected = 3 * math.sqrt(temperature)
    assert drawn.mean() == pytest.approx(10, abs=4 * expected / math.sqrt(MANY))
    assert drawn.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * MANY))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.15, 3.0])
def test_components_are_as_frequent_as_tempered_weights(temperature: float) -> None:
    weights = torch.tensor([0.1, 0.6, 0.05, 0.25])
    drawn = draws(mixture(weights.tolist(), [0.0, 1.0, 2.0, 3.0], [1e-4] * 4), temperature)
    counts = torch.bincount(drawn.round().long(), minlength=4)
    expected = torch.softmax(weights.log() / temperature, 0)
    spread = torch.sqrt(expected * (1 - expected) / MANY)
    assert ((counts / MANY - expected).abs() < 4 * spread).all()


def test_each_dimension_picks_a_component_of_its_own() -> None:
    mean = torch.tensor([[1.0, 10.0], [2.0, 20.0]])[None]  # (1, K, Z)
    even = Prediction(torch.zeros(1, 2, 2), mean, torch.full((1, 2, 2), -30.0), torch.zeros(1, 0))
    drawn = sample(even, torch.tensor([[0.4, 0.6]]), torch.zeros(1, 2), torch.ones(1, 1))
    assert drawn.tolist() == [[1.0, 20.0]]


def test_each_row_has_a_temperature_of_its_own() -> None:
    one = mixture([1.0], [0.0], [3.0])
    rows = Prediction(*(part.expand(2, *part.shape[1:]) for part in one))
    drawn = sample(rows, torch.full((2, 1), 0.5), torch.ones(2, 1), torch.tensor([[0.0], [4.0]]))
    torch.testing.assert_close(drawn, torch.tensor([[0.0], [6.0]]))


def test_loss_is_likelihood_plus_weighted_cross_entropy() -> None:
    predicted = mixture([1.0], [0.0], [1.0])._replace(heads=torch.zeros(1, 2))
    model = memory(MemoryConfig(z_size=1, hidden=8, mixtures=1, outcome=3.0))
    loss, parts = model.loss(
        predicted, torch.tensor([[2.0]]), torch.tensor([[1.0, 0.0]]), torch.ones(1, 2)
    )
    nll = 0.5 * 4 + 0.5 * math.log(2 * math.pi)
    assert float(loss) == pytest.approx(nll + 3 * 2 * math.log(2))
    assert {name: float(part) for name, part in parts.items()} == pytest.approx(
        {"nll": nll, "hit": math.log(2), "death": math.log(2)}
    )


def test_steps_that_are_not_known_do_not_count() -> None:
    model, predicted = memory(), prediction(2)
    z, outcomes = normals(2, 3, seed=5), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    first = Prediction(*(part[:1] for part in predicted))
    alone, _ = model.loss(first, z[:1], outcomes[:1], torch.ones(1, 2))
    masked, _ = model.loss(predicted, z, outcomes, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(masked, alone)


def test_what_a_step_pays_is_learned_apart_for_steps_that_end_the_game() -> None:
    model = memory(MemoryConfig(z_size=3, hidden=8, mixtures=1, heads=("end",), paid=True))
    mean = torch.tensor([[[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]])
    predicted = Prediction(torch.zeros(2, 1, 3), mean, torch.zeros(2, 1, 3), torch.zeros(2, 1))
    z, ended = torch.tensor([[0.0, 5.0, 0.0], [0.0, 5.0, 0.0]]), torch.tensor([[0.0], [1.0]])
    _, parts = model.loss(predicted, z, ended, torch.ones(2, 2))
    sure = 0.5 * math.log(2 * math.pi)  # of a number that is where it is foretold
    on, over = sure + 0.5 * (5 - 1) ** 2, sure + 0.5 * (5 - 2) ** 2
    first, second = sure + on, sure + model.config.outcome * over
    assert float(parts["nll"]) == pytest.approx((first + second) / 3 / 2)


def test_a_last_step_counts_for_its_outcome_and_not_for_a_next_frame() -> None:
    model, predicted = memory(), prediction(2)
    z, outcomes = normals(2, 3, seed=5), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    _, both = model.loss(predicted, z, outcomes, torch.ones(2, 2))
    first = Prediction(*(part[:1] for part in predicted))
    _, alone = model.loss(first, z[:1], outcomes[:1], torch.ones(1, 2))
    _, last = model.loss(predicted, z, outcomes, torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(last["nll"], alone["nll"])
    for name in model.config.heads:
        torch.testing.assert_close(last[name], both[name])
