"""The command `distil`: C learns in the dream what an agent has learned there.

An agent has hidden layers, and PPO finds more with them than CMA-ES finds for C. So C imitates the
agent: first where the agent goes in dreams, then where C itself goes, and the agent says what it
would do there (DAgger: Ross et al., 2011). No real game is played.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dreamgym.checkpoint import (
    load_world,
    policy_fingerprint,
    real_frames,
    save_controller,
    world_fingerprint,
    world_folder,
)
from dreamgym.envs import actions
from dreamgym.envs.arguments import parse_temperature
from dreamgym.envs.spaces import spread
from dreamgym.games import Game
from dreamgym.models.agent import Agent
from dreamgym.models.controller import Controller
from dreamgym.world import World

from .flags import Flat, Tau, Whole
from .play import dreams
from .play.policies import (
    AGENT,
    CONTROLLER,
    Controlled,
    Networked,
    controller_config,
    load_networked,
)
from .runs import Run, check_input

EVERY = 6
"""Steps of a dream from one observation that C learns from to the next. Our choice: neighbours
differ little."""
BATCH = 1024
"""Observations in a step of Adam."""
RATE = 1e-2
"""Adam's learning rate at first; it falls to 0. This and `Args.steps` are our choice."""
SCALE = 0.01
"""Standard deviation of C's first weights, on inputs that are scaled: C begins near 0, where its
tanh has a slope."""


@dataclass(frozen=True)
class Args:
    """Who is imitated, and how."""

    world: str = ""
    """A folder, or the name of a shipped world."""
    policy: str = ""
    """The agent's file; if left out, `agent.safetensors` in the world's folder."""
    rounds: Whole = 11
    """Rounds of dreaming and learning."""
    dreams: int = 256
    """Dreams in a round."""
    steps: Whole = 1500
    """Steps of Adam in a round."""
    temperature: Tau = None
    """Temperature of the dreams, or a range from which each draws; if left out, the game's."""
    seed: int = 0
    """Seed of the dreams and of the order of what they show."""

    def __post_init__(self) -> None:
        for name, least in (("rounds", 2), ("dreams", 1), ("steps", 1), ("seed", 0)):
            if (given := getattr(self, name)) < least:
                raise ValueError(f"{name} is {given}: give {least} or more")
        if self.temperature is not None:
            parse_temperature(self.temperature)


class Watched:
    """A policy that plays, while what it sees, and what the agent would do, is kept."""

    def __init__(self, policy: Controlled | Networked, agent: Agent, offset: int):
        self.policy, self.agent, self.step = policy, agent, offset
        self.observation = agent.config.observation
        self.seen: list[Tensor] = []  # (N, I)
        self.told: list[Tensor] = []  # (N, O) what the agent's last layer says

    def begin(self, seeds: Tensor) -> None:
        self.policy.begin(seeds)

    def act(self, observation: Tensor) -> Tensor:
        if self.step % EVERY == 0:
            small = self.observation != "own"  # a game's own numbers may be large
            self.seen.append(observation.half() if small else observation)
            self.told.append(self.agent(observation))
        self.step += 1
        return self.policy.act(observation)

    def keep(self, rows: Tensor) -> None:
        self.policy.keep(rows)


def difference(game: Game, agent: Agent) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss by which C imitates an agent.

    It takes C's outputs before tanh and what the agent's last layer says, and returns a mean. If
    the agent chooses, it is the cross-entropy of its chances and those of C, whose outputs are
    taken as uncertain by a logistic distribution. Else it is the squared error of the action.

    Raises:
        ValueError: if C cannot act as this agent does.
    """
    acts = agent.config.acts
    if acts == "moves" and game.deadband:
        edge = math.atanh(game.deadband)
        moves = torch.from_numpy(game.vectors)  # (M, A)

        def choose(outputs: Tensor, told: Tensor) -> Tensor:
            right, left = F.logsigmoid(outputs - edge), F.logsigmoid(-outputs - edge)  # (N, A)
            neither = torch.log1p(-(right.exp() + left.exp()).clamp_max(1 - 1e-6))
            each = torch.stack((left, neither, right), dim=-1)  # (N, A, 3)
            which = (moves + 1).long().T.expand(len(outputs), -1, -1)  # (N, A, M)
            chances = each.gather(-1, which).sum(1)  # (N, M)
            return -(told.softmax(1) * chances).sum(1).mean()

        return choose
    if acts in ("moves", "parts") and game.choices:
        sizes = list(game.choices)

        def choose_each(outputs: Tensor, told: Tensor) -> Tensor:
            parts = zip(outputs.split(sizes, 1), told.split(sizes, 1), strict=True)
            return torch.stack([F.cross_entropy(a, b.softmax(1)) for a, b in parts]).sum()

        return choose_each
    if acts == "box":
        return lambda outputs, told: F.mse_loss(
            actions.from_outputs(torch.tanh(outputs), game), told.clamp(agent.low, agent.high)
        )
    if acts == "unit":  # then C's outputs are stretched as the agent's are
        return lambda outputs, told: F.mse_loss(torch.tanh(outputs), told.clamp(-1, 1))
    raise ValueError(
        f"the agent acts by {acts}, and C of {game.called} cannot imitate that: take an agent that "
        "PPO has trained, and that acts by Discrete, MultiDiscrete or Box"
    )


def distil(args: Args, out: str | Path, progress: bool = True) -> Path:
    """Let C imitate an agent, and write the C that did best in its dreams; return its file.

    A run that was interrupted begins again; one that is finished is kept.

    Raises:
        ValueError: if the agent does not fit the world, C cannot act as it does, or `out` was
            begun with other arguments, another world or another agent.
    """
    folder = world_folder(args.world)
    file, path = args.policy or str(folder / AGENT), Path(out) / CONTROLLER
    check_input(file)
    world = load_world(folder)
    agent = load_networked(file, world).agent
    loss = difference(world.game, agent)
    low, high = parse_temperature(
        world.game.temperature if args.temperature is None else args.temperature
    )
    inputs = {"world": world_fingerprint(folder), "policy": policy_fingerprint(file)}
    with Run(out, "distillation", args, inputs) as run:
        if not run.facts:
            best, curve = _imitate(args, world, agent, loss, low, high, progress)
            frames = real_frames(Path(file).with_suffix(".json"))
            save_controller(
                path, best, dream=max(curve), temperature=[low, high], real_frames=frames
            )
            run.write(finished=True, dream=curve)
    return path


def _imitate(
    args: Args, world: World, agent: Agent, loss: Callable[[Tensor, Tensor], Tensor],
    low: float, high: float, progress: bool,
) -> tuple[Controller, list[float]]:  # fmt: skip
    """Return the best C, and the mean return in the dreams of each round but the agent's own."""
    kind, game = agent.config.observation, world.game
    imitation = _Imitation(world, kind, low, high, args)
    player: Controlled | Networked = Networked(agent, game)
    seen, told, curve = [], [], []
    best, bar = imitation.controller(), tqdm(range(args.rounds), "distil", disable=not progress)
    for number in bar:
        watched = Watched(player, agent, number)
        ids = args.dreams * (args.rounds * args.seed + number) + torch.arange(args.dreams)
        with torch.no_grad():
            returns = dreams.play(world, watched, ids, low, high).returns
        score = float(returns.mean())
        bar.set_postfix(dream=f"{score:.0f}")
        if number:
            curve.append(score)
            best = imitation.controller() if score == max(curve) else best
        if number == args.rounds - 1:
            break
        seen += watched.seen
        told += watched.told
        imitation.learn(torch.cat(seen), torch.cat(told), loss)
        player = Controlled(imitation.controller(), game)
    return best, curve


class _Imitation:
    """C as it learns, on inputs that are scaled."""

    def __init__(self, world: World, kind: str, low: float, high: float, args: Args):
        self.config, self.args = controller_config(world, kind), args
        mean, self.spread = spread(world, kind, low, high)  # (I,)
        self.mean = mean * self.config.bias
        self.generator = torch.Generator().manual_seed(args.seed)
        many = self.config.actions
        self.weight = torch.zeros(many, self.config.inputs)  # (A, I)
        self.weight.normal_(0, SCALE / self.config.inputs**0.5, generator=self.generator)
        self.bias = torch.zeros(many)

    def learn(self, seen: Tensor, told: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take some steps of Adam on all that was seen so far (N, I)."""
        parameters = [self.weight.requires_grad_(), self.bias.requires_grad_(self.config.bias)]
        adam = torch.optim.Adam(parameters[: 1 + self.config.bias], RATE)
        fall = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 1e-3, self.args.steps)
        for _ in range(self.args.steps):
            rows = torch.randint(len(seen), (BATCH,), generator=self.generator)
            x = (seen[rows].float() - self.mean) / self.spread
            value = loss(x @ self.weight.T + self.bias, told[rows])
            adam.zero_grad()
            value.backward()
            adam.step()
            fall.step()
        self.weight, self.bias = self.weight.detach(), self.bias.detach()

    def controller(self) -> Controller:
        """Return C for inputs that are not scaled."""
        weight = self.weight / self.spread
        biases = [self.bias - weight @ self.mean] * self.config.bias
        return Controller(self.config, torch.cat((weight.flatten(), *biases)))


def main(args: Flat[Args], out: str = "") -> None:
    """Let C learn in the dream what an agent has learned there.

    Args:
        out: Folder of the run, for `controller.safetensors`.
    """
    for name, given in (("world", args.world), ("out", out)):
        if not given:
            raise ValueError(f"{name} is missing: name the folder with --{name}")
    print(f"the controller is {distil(args, out)}")
