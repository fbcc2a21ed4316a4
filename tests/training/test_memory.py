"""M learns from what the data say, at the step at which they say it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym.games.car_racing import GAME as CAR_RACING
from dreamgym.games.doom import GAME as DOOM
from dreamgym.models.mdn_rnn import MDNRNN, MemoryConfig, log_likelihood
from dreamgym.models.standard import Standard, StandardConfig
from dreamgym.training import memory, trainer
from dreamgym.training.data.latents import Latents

SIGMA = 0.5
TINY = MemoryConfig(z_size=1, action_size=1, hidden=8, mixtures=1)


def data(
    lengths: list[int], mean: Tensor, sigma: float, action: Tensor, outcomes: Tensor
) -> Latents:
    """A data set whose latents are N(mean, σ²)."""
    frames = sum(lengths)
    return Latents(
        mean[:, None].half(), torch.full((frames, 1), 2 * math.log(sigma)).half(),
        action[:, None], outcomes, torch.ones(frames), torch.tensor(lengths),
        torch.full((frames, 1), 100.0), torch.zeros(len(lengths), dtype=torch.int64), "",
    )  # fmt: skip


def obedient(episodes: int = 60, seed: int = 0) -> Latents:
    """Games in which the next latent is the action just taken, and so is the hit.

    Actions are -1 or 1 by a coin, "death" is the first step of every game, and games are of many
    lengths, so that nothing else foretells anything.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 14, episodes).tolist()
    action = torch.from_numpy(rng.choice([-1.0, 1.0], sum(lengths))).float()
    first = np.cumsum([0, *lengths[:-1]])
    mean = action.roll(1)
    mean[first] = torch.from_numpy(rng.choice([-1.0, 1.0], episodes)).float()
    begins = torch.zeros(len(action), dtype=torch.bool)
    begins[first] = True
    return data(lengths, mean, SIGMA, action, torch.stack((action > 0, begins), 1))


def numbered(lengths: list[int]) -> Latents:
    """Games in which frame n is the latent n, action n + ½, and the outcomes are n's last bits."""
    n = torch.arange(sum(lengths))
    bits = torch.stack((n % 2 == 1, n // 2 % 2 == 1), 1)
    return data(lengths, n.float(), 1e-9, n + 0.5, bits)


def small(**other: float) -> memory.Args:
    asked = {"steps": 12, "batch": 3, "length": 4, "held_out": 4, **other}
    return memory.Args(**asked)  # type: ignore[arg-type]


class Watch:
    """What M is shown in training: the slabs, the states before and after, the learning rates."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.z: list[Tensor] = []
        self.action: list[Tensor] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self.after: list[tuple[Tensor, Tensor]] = []
        self.target: list[Tensor] = []
        self.outcomes: list[Tensor] = []
        self.known: list[Tensor] = []
        self.rates: list[float] = []
        self.norms: list[float] = []
        unroll, loss, step = MDNRNN.unroll, MDNRNN.loss, torch.optim.Adam.step

        def unrolled(m, z, action, state):  # type: ignore[no-untyped-def]
            out, last = unroll(m, z, action, state)
            self.z.append(z.clone())
            self.action.append(action.clone())
            self.before.append(tuple(part.clone() for part in state))
            self.after.append(tuple(part.detach().clone() for part in last))
            return out, last

        def lost(m, prediction, z, outcomes, known):  # type: ignore[no-untyped-def]
            self.target.append(z.clone())
            self.outcomes.append(outcomes.clone())
            self.known.append(known.clone())
            return loss(m, prediction, z, outcomes, known)

        def stepped(adam, *rest):  # type: ignore[no-untyped-def]
            (group,) = adam.param_groups
            self.rates.append(float(group["lr"]))
            gradients = [p.grad.flatten() for p in group["params"]]
            self.norms.append(float(torch.cat(gradients).norm()))
            return step(adam, *rest)

        patch.setattr(MDNRNN, "unroll", unrolled)
        patch.setattr(MDNRNN, "loss", lost)
        patch.setattr(torch.optim.Adam, "step", stepped)

    def rows(self) -> Iterator[tuple[int, int, list[int]]]:
        """Yield (slab, row, real frames of it), in order."""
        for number, (z, known) in enumerate(zip(self.z, self.known, strict=True)):
            for row in range(len(z)):
                real = z[row, known[row, :, 1] == 1, 0]
                yield number, row, real.round().long().tolist()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


LENGTHS = [5, 9, 1, 4, 6, 8, 3, 7]  # with every 4th held out: frames 15 to 18 and 36 to 42
HELD = {*range(15, 19), *range(36, 43)}


def train(latents: Latents, out: Path, args: memory.Args, config: MemoryConfig = TINY) -> MDNRNN:
    return memory.train(latents, out, args, config, progress=False)


@torch.no_grad()
def scores(m: MDNRNN, latents: Latents) -> tuple[float, Tensor]:
    """Return by how many nats M foretells z worse than who knows the rule, and the cross-entropies.

    One step at a time, from zeros, with latents that are sampled here.
    """
    torch.manual_seed(1)
    z = latents.mean.float() + SIGMA * torch.randn(len(latents.mean), 1)
    short, cross, frames = 0.0, torch.zeros(2), 0
    for start, length in zip(latents.starts.tolist(), latents.lengths.tolist(), strict=True):
        h = c = torch.zeros(1, m.config.hidden)
        for t in range(start, start + length):
            told, h, c = m.step(z[t : t + 1], latents.action[t : t + 1], h, c)
            wanted = latents.outcomes[t : t + 1].float()
            cross += torch.nn.functional.binary_cross_entropy_with_logits(
                told.heads, wanted, reduction="none"
            )[0]
            if t + 1 < start + length:
                knows = torch.distributions.Normal(latents.action[t], SIGMA)
                short += float(knows.log_prob(z[t + 1]) - log_likelihood(told, z[t + 1 : t + 2])[0])
                frames += 1
    return short / frames, cross / len(z)


def test_m_comes_as_near_as_hundredths_of_a_nat_to_who_knows_the_rule(tmp_path: Path) -> None:
    """It cannot if an index is one off, if it learns V's means, or if games run into each other."""
    args = memory.Args(steps=350, batch=32, length=8, learning_rate=0.05, held_out=10)
    m = train(obedient(), tmp_path, args)
    short, cross = scores(m, obedient(seed=1))
    assert abs(short) < 0.03
    assert (cross < 0.05).all()


def test_m_is_told_each_action_with_its_frame_and_asked_for_what_came_of_it(
    tmp_path: Path, watch: Watch
) -> None:
    train(numbered(LENGTHS), tmp_path, small())
    for z, action, target, outcomes, known in zip(
        watch.z, watch.action, watch.target, watch.outcomes, watch.known, strict=True
    ):
        there, next_too = known[..., 1] == 1, known[..., 0] == 1
        torch.testing.assert_close(action[there], z[there] + 0.5)
        torch.testing.assert_close(target[next_too], z[next_too] + 1)
        n = z.round()
        bits = torch.cat((n % 2, n // 2 % 2), -1)
        assert there.any() and torch.equal(outcomes[there], bits[there])


def test_every_step_of_a_game_counts_and_its_last_has_no_next_frame(
    tmp_path: Path, watch: Watch
) -> None:
    latents = numbered(LENGTHS)
    train(latents, tmp_path, small())
    last = set((latents.starts + latents.lengths - 1).tolist())
    for number, row, frames in watch.rows():
        known = watch.known[number][row]
        assert known[:, 1].tolist() == [1.0] * len(frames) + [0.0] * (4 - len(frames))
        assert known[: len(frames), 0].tolist() == [float(n not in last) for n in frames]
        assert (known[len(frames) :, 0] == 0).all()


def test_m_forgets_one_game_before_the_next_and_nothing_within_one(
    tmp_path: Path, watch: Watch
) -> None:
    latents = numbered(LENGTHS)
    train(latents, tmp_path, small())
    starts, began, went_on = set(latents.starts.tolist()), 0, 0
    for number, row, frames in watch.rows():
        for part in range(2):
            before = watch.before[number][part][row]
            if frames[0] in starts:
                began += 1
                assert (before == 0).all()
            else:
                went_on += 1
                assert torch.equal(before, watch.after[number - 1][part][row])
                assert before.any()
    assert began > 6 and went_on > 6


def test_each_row_runs_through_whole_games_of_the_training_set_alone(
    tmp_path: Path, watch: Watch
) -> None:
    train(numbered(LENGTHS), tmp_path, small(steps=30))
    shown: list[list[int]] = [[], [], []]
    for _, row, frames in watch.rows():
        shown[row] += frames
    starts = dict(zip(numbered(LENGTHS).starts.tolist(), LENGTHS, strict=True))
    for frames in shown:
        while frames:
            game = list(range(frames[0], frames[0] + starts[frames[0]]))
            assert frames[: len(game)] == game[: len(frames)]  # the last may be cut by the end
            frames = frames[len(game) :]
    seen = {frame for _, _, frames in watch.rows() for frame in frames}
    assert seen == set(range(sum(LENGTHS))) - HELD


def test_each_round_shows_every_game_once_in_an_order_of_its_own() -> None:
    args = memory.Args(batch=1, length=20)
    batches = memory.Batches(numbered(LENGTHS), np.arange(8), args)
    rounds = [[int(batches.skip()[0][0]) for _ in range(8)] for _ in range(3)]
    starts = sorted(numbered(LENGTHS).starts.tolist())
    assert [sorted(each) for each in rounds] == [starts] * 3
    assert rounds[0] != rounds[1] != rounds[2] != starts


def test_every_so_manieth_game_is_held_out() -> None:
    latents = numbered([2] * 41)
    training, held = memory.split(latents, 20)
    assert held.tolist() == [19, 39]
    assert sorted([*training, *held]) == list(range(41))
    few, one = memory.split(numbered([2, 2, 2]), 20)
    assert (few.tolist(), one.tolist()) == ([0, 1], [2])
    pair, other = memory.split(numbered([2, 2]), 20)
    assert (pair.tolist(), other.tolist()) == ([0], [1])
    with pytest.raises(ValueError, match="2 episodes or more"):
        memory.split(numbered([2]), 20)


def test_latents_are_drawn_anew_at_every_look_with_v_s_own_spread(
    tmp_path: Path, watch: Watch
) -> None:
    count = 8 * 20
    still = data([20] * 8, torch.full((count,), 3.0), 2.0, torch.zeros(count),
                 torch.zeros(count, 2, dtype=torch.bool))  # fmt: skip
    train(still, tmp_path, small(steps=60, batch=8, length=10))
    first, last = torch.stack(watch.z)[..., 0], torch.stack(watch.target)[..., 0]
    assert torch.equal(first[..., 1:], last[..., :-1])  # what was foretold is what came
    drawn = first.flatten().double()
    n = len(drawn)
    assert float(drawn.mean()) == pytest.approx(3, abs=4 * 2 / math.sqrt(n))
    assert float(drawn.std()) == pytest.approx(2, rel=4 / math.sqrt(2 * n))
    assert len(set(drawn.tolist())) > 0.99 * n  # no slab has the noise of another


def test_the_rate_rises_and_falls_as_a_cosine(tmp_path: Path, watch: Watch) -> None:
    train(numbered(LENGTHS), tmp_path, small(learning_rate=0.5, steps=12))
    wanted = [0.5 * (step + 1) / 200 * cosine(step / 12) for step in range(12)]
    assert watch.rates == pytest.approx(wanted, rel=1e-6)


def cosine(share: float) -> float:
    """From 1 to a hundredth."""
    return 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2


def test_the_schedule_has_known_values() -> None:
    assert trainer.schedule(0, 1000) == pytest.approx(1 / 200)
    assert trainer.schedule(99, 10**9) == pytest.approx(0.5)
    assert trainer.schedule(199, 10**9) == pytest.approx(1)
    assert trainer.schedule(500, 1000) == pytest.approx(0.505)
    assert trainer.schedule(250, 1000) == pytest.approx(0.01 + 0.99 * (1 + 0.5**0.5) / 2)
    assert trainer.schedule(1000, 1000) == pytest.approx(0.01)
    assert trainer.schedule(0, 0) == pytest.approx(1 / 200)


@pytest.mark.parametrize("clip", [1e-3, 1e9])
def test_gradients_are_clipped_to_their_norm_and_no_smaller(
    clip: float, tmp_path: Path, watch: Watch
) -> None:
    train(numbered(LENGTHS), tmp_path, small(clip=clip, steps=4))
    if clip < 1:
        assert watch.norms == pytest.approx([clip] * 4, rel=1e-3)
    else:
        assert min(watch.norms) > 1


def test_training_is_a_function_of_its_seed(tmp_path: Path) -> None:
    runs = [train(obedient(6), tmp_path / str(i), small(seed=i // 2)) for i in range(3)]
    weights = [torch.cat([part.flatten() for part in m.state_dict().values()]) for m in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_run_stopped_in_a_game_sees_and_remembers_what_it_would_have(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents, args = numbered(LENGTHS), small(steps=9)
    whole = train(latents, tmp_path / "whole", args)
    z, before, rates = list(watch.z), list(watch.before), list(watch.rates)
    loss = MDNRNN.loss

    def stops(m, *rest):  # type: ignore[no-untyped-def]
        if len(watch.z) == 9 + 6:
            raise KeyboardInterrupt
        return loss(m, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MDNRNN, "loss", stops)
        patch.setattr(trainer, "SAVE_EVERY", 0.0)
        train(latents, tmp_path / "parts", args)
    first = len(watch.z)
    parts = train(latents, tmp_path / "parts", args)
    assert len(watch.z) == first + 4  # steps 5 to 8
    for number in range(4):
        assert torch.equal(watch.z[first + number], z[5 + number])
        assert torch.equal(watch.before[first + number][0], before[5 + number][0])
        assert torch.equal(watch.before[first + number][1], before[5 + number][1])
    assert watch.rates[-4:] == rates[5:9]
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_m_goes_on_from_the_m_that_it_is_given(tmp_path: Path) -> None:
    taught = train(obedient(), tmp_path / "a", small(steps=40, batch=16, learning_rate=0.05))
    args = small(steps=1, learning_rate=1e-9, init=str(tmp_path / "a"), seed=5)
    on = train(obedient(), tmp_path / "b", args)
    for one, other in zip(taught.parameters(), on.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_what_m_learns_is_what_is_written(tmp_path: Path) -> None:
    from dreamgym.checkpoint import load_module

    m, read = train(obedient(6), tmp_path, small()), MDNRNN(TINY)
    load_module(read, tmp_path / "memory.safetensors")
    for one, other in zip(m.parameters(), read.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not m.training


def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights(tmp_path: Path) -> None:
    broken = obedient(6)
    broken.mean[:] = float("nan")
    with pytest.raises(FloatingPointError, match="M's loss is nan at step 0"):
        train(broken, tmp_path, small())


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("steps", 0, 1), ("batch", 0, 1), ("length", 0, 1), ("held_out", 1, 2)],
)
def test_an_argument_that_leaves_nothing_to_learn_is_named(
    name: str, value: int, least: int
) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}: give {least} or more"):
        memory.Args(**{name: value})  # type: ignore[arg-type]


def drives(lengths: list[int]) -> Latents:
    """Games of scattered latents, of which V is certain; tiles are touched and missed."""
    frames, heads = sum(lengths), CAR_RACING.rules.heads
    torch.manual_seed(3)
    counts = torch.cat([
        torch.stack((300.0 + game - torch.arange(n), torch.arange(n) // 3), 1)
        for game, n in enumerate(lengths)
    ])  # fmt: skip
    return Latents(
        torch.randn(frames, 6).half(), torch.full((frames, 6), -60.0).half(),
        torch.rand(frames, 3), torch.zeros(frames, len(heads), dtype=torch.bool),
        torch.zeros(frames), torch.tensor(lengths), counts,
        torch.zeros(len(lengths), dtype=torch.int64), "",
    )  # fmt: skip


def test_moments_are_what_m_has_made_of_the_games_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOMENTS", 300)
    latents = drives([40, 7, 1, 25, 60])  # the last is held out
    torch.manual_seed(0)
    m = MDNRNN(MemoryConfig(6, 3, 16, heads=CAR_RACING.rules.heads)).eval()
    found = memory.moments(CAR_RACING.rules, m, latents)
    assert len(found) == 300 and found.step.dtype is torch.int64
    means, seen = latents.mean.float(), set()
    with torch.no_grad():
        for game, (first, length) in enumerate(
            zip(latents.starts.tolist(), latents.lengths.tolist(), strict=True)
        ):
            h, c = torch.zeros(1, 16), torch.zeros(1, 16)
            for t in range(length):
                at = first + t
                for row in torch.nonzero((found.z - means[at]).abs().amax(1) < 1e-6)[:, 0].tolist():
                    seen.add((game, t))
                    assert int(found.step[row]) == t
                    torch.testing.assert_close(found.h[row], h[0], atol=1e-5, rtol=0)
                    torch.testing.assert_close(found.c[row], c[0], atol=1e-5, rtol=0)
                    assert found.counts[row].tolist() == [300 + game - t, t // 3, 300 + game]
                _, h, c = m.step(means[at : at + 1], latents.action[at : at + 1], h, c)
    assert {game for game, _ in seen} == {0, 1, 3}  # none is of a game that is held out
    assert max(t for game, t in seen if game == 0) >= 38
    of_games = torch.bincount((300 - found.counts[:, 2]).abs().long(), minlength=4)
    shares = torch.tensor([39, 6, 0, 24]) / 69 * 300  # frames are drawn evenly, but the first ones
    assert ((of_games - shares).abs() <= 4 * shares.sqrt()).all()
    assert found.h.any() and not torch.equal(found.h, found.c)


def test_moments_are_a_function_of_their_seed_and_drawn_with_v_s_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "MOMENTS", 4000)
    latents = drives([10, 10])
    latents.mean[:], latents.logvar[:] = 3.0, 2 * math.log(0.5)
    m = MDNRNN(MemoryConfig(6, 3, 8, heads=CAR_RACING.rules.heads)).eval()
    one, same, other = (memory.moments(CAR_RACING.rules, m, latents, seed) for seed in (0, 0, 1))
    assert torch.equal(one.z, same.z) and torch.equal(one.h, same.h)
    assert not torch.equal(one.z, other.z)
    assert float(one.z.mean()) == pytest.approx(3, abs=4 * 0.5 / math.sqrt(one.z.numel()))
    assert float(one.z.std()) == pytest.approx(0.5, rel=4 / math.sqrt(2 * one.z.numel()))
    shares = torch.bincount(one.step, minlength=10) / 4000
    assert shares[0] == 0  # a first frame is no moment inside a game
    assert shares[1:].tolist() == pytest.approx([1 / 9] * 9, abs=4 * math.sqrt(0.1 / 4000))


def test_a_moment_has_a_prize_before_it_that_comes_soon() -> None:
    """Neither one that the next game brings, nor one of a game that is held out."""
    latents, tile = drives([200, 30, 40, 90]), CAR_RACING.rules.heads.index("tile")
    assert memory.inside(CAR_RACING.rules, latents).sum() == 199 + 29 + 39  # no prize ever comes
    for frame in (150, 152, 205, 230, 300):
        latents.outcomes[frame, tile] = True
    found = np.flatnonzero(memory.inside(CAR_RACING.rules, latents))
    expected = [*range(150 - memory.SOON + 1, 153), *range(201, 206)]
    assert found.tolist() == expected  # 230 is a first frame, and 300 of the game that is held out
    assert memory.inside(DOOM.rules, latents).sum() == 199 + 29 + 39


def test_a_game_of_one_frame_has_a_moment_if_there_is_no_other() -> None:
    assert memory.inside(DOOM.rules, drives([1, 1, 5])).tolist() == [True, True] + [False] * 5


def test_the_last_frame_of_a_vector_game_tells_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """No action is taken at it, so no moment begins there, and what it tells is not learned."""
    monkeypatch.setattr(memory, "MOMENTS", 500)
    latents = drives([4, 9])
    index = torch.arange(4)[None]
    real = torch.tensor([[True, True, True, False]])
    batch = memory.slab(latents, index, real)
    assert batch.known.tolist() == [[[1, 1], [1, 1], [0, 1]]]
    latents.task = "CartPole-v1"
    batch = memory.slab(latents, index, real)
    assert batch.known.tolist() == [[[1, 1], [1, 1], [0, 0]]]
    m = MDNRNN(MemoryConfig(6, 3, 8, heads=CAR_RACING.rules.heads)).eval()
    found = memory.moments(CAR_RACING.rules, m, latents)
    assert found.step.max() == 2  # of the first game, of 4 frames: the second is held out


def test_moments_of_survival_have_its_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOMENTS", 50)
    latents = obedient(6)
    latents.counts = torch.arange(len(latents.counts))[:, None].float()
    found = memory.moments(DOOM.rules, MDNRNN(TINY), latents)
    starts = latents.starts
    assert found.counts.shape == (50, 1)
    for step, (count,) in zip(found.step.tolist(), found.counts.tolist(), strict=True):
        assert count - step in starts


def test_m_goes_on_from_one_that_foretells_fewer_outcomes() -> None:
    torch.manual_seed(0)
    few = MDNRNN(MemoryConfig(4, 3, 8, heads=("tile", "tiles", "fall")))
    more = MDNRNN(MemoryConfig(4, 3, 8, heads=CAR_RACING.rules.heads))
    memory.go_on_from(more, few)
    z, action, zeros = torch.randn(5, 4), torch.rand(5, 3), torch.zeros(5, 8)
    (was, *before), (now, *after) = (m.step(z, action, zeros, zeros) for m in (few, more))
    assert all(map(torch.equal, before, after))  # h and c
    torch.testing.assert_close(now[:3], was[:3])  # the mixture
    torch.testing.assert_close(now.heads[:, :3], was.heads)
    assert (now.heads[:, 3:] == memory.UNLIKELY).all()
    other = MDNRNN(MemoryConfig(4, 3, 16, heads=CAR_RACING.rules.heads))
    with pytest.raises(ValueError, match=r"init holds an M of MemoryConfig.*hidden=8"):
        memory.go_on_from(other, few)


def test_m_foretells_the_same_when_v_has_measured_again() -> None:
    """Numbers, their change, the reward, and what an end would pay; one z is there to be even."""
    torch.manual_seed(0)
    config = MemoryConfig(6, 1, 8, heads=("end",), residual=3, paid=True)
    before, after = (Standard(StandardConfig(4)) for _ in range(2))
    for v in (before, after):
        v.mean.copy_(torch.randn(4))
        v.deviation.copy_(torch.rand(4) + 0.2)
    m, again = MDNRNN(config), MDNRNN(config)
    again.load_state_dict(m.state_dict())
    memory.restandardise(again, before, after)
    frames, action = torch.randn(5, 7, 4), torch.rand(5, 7, 1)
    told = []
    for v, foretells in ((before, m), (after, again)):
        z = v.encode(frames.flatten(0, 1))[0].unflatten(0, (5, 7))
        h, _ = foretells.unroll(z, action)
        there = foretells.predict(h, z)
        mean = v.decode(there.mean.flatten(0, 2)).unflatten(0, (5, 7, -1))
        spread = torch.exp(there.logstd)[..., [0, 1, 2, 4]] * v.deviation
        ends = torch.exp(there.logstd[..., 5]) * v.deviation[3]
        pay = there.mean[..., 5] * v.deviation[3] + v.mean[3]
        told.append((h, there.logits, mean, spread, ends, pay, there.heads))
    for one, two in zip(*told, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("residual", "half"), [(0, True), (2, False)])
def test_exact_numbers_are_learned_in_float32(
    monkeypatch: pytest.MonkeyPatch, residual: int, half: bool
) -> None:
    monkeypatch.setattr(memory, "supports_bfloat16", lambda _: True)
    m = MDNRNN(MemoryConfig(z_size=4, hidden=8, residual=residual))
    assert memory.Objective(m, SimpleNamespace(args=memory.Args())).half == half
