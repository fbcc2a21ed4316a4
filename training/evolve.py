"""The command `evolve`: C is evolved in the dream, and the controller that transfers is kept.

Every few generations the mean plays the real game; at the end the best of them play again, on fresh
seeds, for the last choice.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dreamgym.checkpoint import (
    CheckpointError,
    check_config,
    load_controller,
    load_tensors,
    policy_fingerprint,
    read_json,
    save_controller,
    save_tensors,
    shared_world,
    world_fingerprint,
    world_folder,
    write_json,
)
from dreamgym.envs.arguments import parse_temperature
from dreamgym.envs.spaces import spread
from dreamgym.files import replacing
from dreamgym.models.controller import Controller, ControllerConfig
from dreamgym.world import World

from .flags import RUNS, Flat, Name, Tau, Whole, game_for
from .optimisers import CMAES
from .play import dreams
from .play.executors import Executor, Local
from .play.games import score, tournament
from .play.policies import Controlled, controller_config, load_fitting
from .runs import OTHER, Run, check_input, check_numbers, read
from .splits import DEMO, FINAL, VALIDATION

SPREAD = 1.0
"""First spread of each of C's layers before the tanh, if the search is scaled."""
WARM = 0.5
"""What share of it a search begins with that goes on from a controller: ours, or it is lost."""
UNIT = 0.6
"""Spread of a hidden unit, which is tanh of a number of unit spread."""


@dataclass(frozen=True)
class Args:
    """How C is evolved."""

    world: str = ""
    """A shipped name or a folder; the game's own if empty."""
    generations: Whole = 100
    population: int = 64
    """Members a generation (World Models, §A.3)."""
    rollouts: int = 16
    """Dreams a member, on seeds common to all members (World Models, §A.3)."""
    temperature: Tau = None
    """Of the dreams, or the ends of the range of which each draws its own; the game's if None."""
    steps: int = 0
    """Steps after which a dream is cut off; 0: the game's own limit."""
    validate: int = 10
    """Generations between validations of the mean in the real game; 0 never validates."""
    games: int = 40
    """Real games a validation."""
    finalists: int = 3
    """Best on validation that play for the last choice; 1 or fewer: none does."""
    final_games: int = 100
    """Fresh real games for each of them: the best of many noisy scores is a lucky one."""
    init: str = ""
    """File of a controller from which the search begins, of the same shape; zeros if empty."""
    reality: bool = False
    """Whether it learns in the real game, as the paper's C of CarRacing did."""
    observation: str = ""
    """What C sees; the game's own if empty."""
    hidden: int = 0
    """Units between what C sees and what it does."""
    scaled: bool = True
    """Whether a weight's first step is the smaller the wider its input is spread: ours; z, h and c
    differ, and in so few generations CMA-ES cannot learn by how much."""
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"generations": 1, "population": 4, "rollouts": 1, "validate": 0, "games": 1,
                 "final_games": 1, "finalists": 0, "hidden": 0, "steps": 0}  # fmt: skip
        most = {"rollouts": VALIDATION - 1, "games": FINAL - VALIDATION, "seed": 2**32 - 1,
                "final_games": DEMO - FINAL}  # fmt: skip
        for name, low in (least | {"seed": 0}).items():
            if not low <= getattr(self, name) <= most.get(name, np.inf):
                high = f"to {most[name]:,}" if name in most else "or more"
                raise ValueError(f"{name} is {getattr(self, name)}: give {low} {high}")
        if self.temperature is not None:
            parse_temperature(self.temperature)
        if self.reality and self.steps:
            raise ValueError(f"steps is {self.steps}: only dreams are cut off, real games are not")

    @property
    def range(self) -> tuple[float, float]:
        """Ends of the temperature's range, which must be known by now."""
        return parse_temperature(self.temperature)


def evolve(
    args: Args,
    out: str | Path,
    executor: Executor,
    progress: bool = True,
    seconds: float = float("inf"),
    device: str = "cpu",
    form: str = "auto",
) -> Controller:
    """Evolve a controller, writing and resuming in `out`, and return the best on validation.

    A checkpoint is the losses of all generations so far: CMA-ES is a function of its seed, its
    first steps and of them, so telling it the same losses again restores it bit for bit, without a
    pickle.

    Args:
        seconds: begin no generation but the first after so long, for a demonstration.
        device: where it dreams.
        form: how it dreams there, see `world.FORMS`.

    Raises:
        ValueError: if `out` was begun with other arguments, in another world or from another
            controller, or if there is no memory for so large a population.
    """
    out, folder, began = Path(out), world_folder(args.world), time.monotonic()
    world = shared_world(str(folder), device, "fastest", form)
    usual = world.game.temperature if args.temperature is None else args.temperature
    args = replace(args, temperature=parse_temperature(usual))
    config = controller_config(world, args.observation, args.hidden)
    check_config(config, "the search")
    _check_population(args, world, config)
    first = np.zeros(config.parameters)
    inputs = {"world": world_fingerprint(folder), "init": ""}
    if args.init:
        begun = load_fitting(args.init, world)
        if begun.config != config:
            raise ValueError(f"init {args.init} is {begun.config}, the search is for {config}")
        first = begun.weights.double().numpy()
        check_input(args.init)
        inputs["init"] = policy_fingerprint(args.init)
    with Run(out, "evolution", args, inputs, grows="generations") as run:
        return _evolve(run, args, world, config, first, executor, progress, began, seconds)


def _evolve(
    run: Run,
    args: Args,
    world: World,
    config: ControllerConfig,
    first: np.ndarray,
    executor: Executor,
    progress: bool,
    began: float,
    seconds: float,
) -> Controller:
    out, folder = run.path.parent, world_folder(args.world)
    curve, losses, steps = _resume(run, args, config)
    run.at_least(len(curve))
    if steps is None and args.scaled:
        steps = first_steps(world, config, args)
    scale = SPREAD * (WARM if args.init else 1) if args.scaled else None
    search = CMAES(first, args.population, args.seed, steps, scale)
    means: list[Controller] = []  # of every generation, so that finalists can be called back

    def tell(loss: np.ndarray) -> None:
        search.tell(loss)
        means.append(Controller(config, torch.tensor(search.mean, dtype=torch.float32)))

    for past in losses:
        search.ask()
        tell(past)

    path = out / "controller.safetensors"

    def compete(point: dict[str, Any], key: str, mean: Controller, first: int, games: int) -> None:
        """Write into a point of the curve how a controller plays the real game."""
        seeds = range(first, first + games)
        played = score(world.game.name, folder, mean, seeds, executor, progress=False)
        point[key] = float(np.mean([each["return"] for each in played]))
        spend(point, sum(each["length"] for each in played))

    def spend(point: dict[str, Any], frames: int) -> None:
        """Add to the count of real frames, of which a point knows the latest."""
        before = max((p.get("real_frames", 0) for p in [*curve, point]), default=0)
        point["real_frames"] = before + frames

    with (
        _bar(args, len(losses), seconds, not progress) as bar,
        SummaryWriter(str(out / "log")) as log,
    ):
        for generation in range(len(losses), args.generations):
            if curve and time.monotonic() - began > seconds:
                break
            members = search.ask()
            returns, frames = _population(
                world, config, members, args, generation, executor
            )  # (M, R)
            tell(-returns.mean(1))
            point: dict[str, Any] = {
                "generation": generation + 1,
                "dream": float(returns.mean()),
                "dream_best": float(returns.mean(1).max()),
                "sigma": search.sigma,
                "temperature": list(args.range),
            }
            most = world.rules.most(args.steps or world.game.max_steps)
            if most < np.inf:
                point["impossible"] = float((returns > most).mean())
            if frames:
                spend(point, frames)
            if args.validate and (generation + 1) % args.validate == 0:
                compete(point, "real", means[-1], VALIDATION, args.games)
                if point["real"] > max((p["real"] for p in curve if "real" in p), default=-np.inf):
                    save_controller(path, means[-1], **point)
                elif path.exists():  # those that were not kept have cost frames too
                    record = path.with_suffix(".json")
                    write_json(record, read_json(record) | {"real_frames": point["real_frames"]})
            curve.append(point)
            for key, value in point.items():
                if key == "temperature":
                    continue
                log.add_scalar(f"controller/{key}", value, generation + 1)
            _checkpoint(run, curve, search, steps)
            passed = min(time.monotonic() - began, seconds)  # tqdm shows no more than the total
            bar.update(1 if seconds == np.inf else passed - bar.n)
            shown = ("generation", "dream", "real", "impossible")
            bar.set_postfix({k: f"{point[k]:.3g}" for k in shown if k in point})
    tested = sorted((p for p in curve if "real" in p), key=lambda p: -p["real"])
    complete = len(curve) == args.generations
    best = tested[0] if tested else curve[-1]
    if complete and args.finalists > 1 and tested:
        for point in tqdm(tested[: args.finalists], "last choice", disable=not progress):
            if "final" not in point:
                compete(point, "final", means[point["generation"] - 1], FINAL, args.final_games)
                _checkpoint(run, curve, search, steps)
        best = max(tested[: args.finalists], key=lambda p: p["final"])
    facts = best | ({"real_frames": spent(out)} if tested else {})  # of those not kept, too
    save_controller(path, means[best["generation"] - 1], **facts)
    plot(curve, out / "curve.png")
    if complete:
        run.finish()
    return load_controller(path)


def _bar(args: Args, done: int, seconds: float, off: bool) -> Any:
    """Return a progress bar of generations, or, where the clock ends the search, of seconds."""
    if seconds == np.inf:
        return tqdm(
            total=args.generations, initial=done, unit=" generations", desc="C", disable=off
        )
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s{postfix}"
    return tqdm(total=seconds, desc="C", bar_format=form, disable=off)


def _check_population(args: Args, world: World, config: ControllerConfig) -> None:
    """Refuse a population that this machine has no memory for.

    Raises:
        ValueError: naming how many members fit.
    """
    try:
        world.check_room(args.population * (1 if args.reality else args.rollouts))
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        each = 8 * 4 + 4 * args.rollouts  # bytes: pycma keeps three, a row of doubles, each dream
        square = 8 * 4 * config.parameters**2  # CMA-ES's covariance, its root and their likes
        if (need := each * args.population * config.parameters + square) > there:
            raise ValueError(f"the search takes {need / 2**30:,.0f} GiB of {there / 2**30:,.0f}")
    except ValueError as error:
        raise ValueError(
            f"population is {args.population}, rollouts {args.rollouts}, C has {config.parameters} "
            f"weights: too many for this machine ({error})"
        ) from None


def spent(out: str | Path) -> int:
    """Return the real frames that an evolution has cost so far."""
    path = Path(out) / "evolution.json"
    curve = check_numbers(read(path).get("curve"), path, ("generation",), ("real_frames",))
    return max((int(point.get("real_frames", 0)) for point in curve), default=0)


def first_steps(world: World, config: ControllerConfig, args: Args) -> np.ndarray:
    """Return the first step of each weight (P,), by which every layer's sums get unit spread.

    An input's spread is its standard deviation in random dreams.
    """
    deviation = spread(world, config.observation, *args.range)[1].cpu().numpy()
    steps = []
    for inputs, outputs in config.layers:
        fan_in = inputs + config.bias
        weights, biases = np.tile(1 / deviation, outputs), np.ones(outputs * config.bias)
        steps += [weights / np.sqrt(fan_in), biases / np.sqrt(fan_in)]
        deviation = np.full(outputs, UNIT)
    return np.concatenate(steps)


def _population(
    world: World,
    config: ControllerConfig,
    members: np.ndarray,
    args: Args,
    generation: int,
    executor: Executor,
) -> tuple[np.ndarray, int]:
    """Return what each dream, or real game, (R) pays each member (M), and the real frames of it."""
    first = (args.seed * 100_003 + generation) * args.rollouts % (VALIDATION - args.rollouts)
    games = range(first, first + args.rollouts)
    if args.reality:
        players = [Controller(config, torch.from_numpy(each).float()) for each in members]
        return tournament(world.game.name, world_folder(args.world), players, games, executor)
    weights = torch.from_numpy(members).float().to(world.device)
    weights = weights.repeat_interleave(args.rollouts, 0)
    seeds = torch.tensor(games).repeat(args.population)
    policy = Controlled(Controller(config, weights), world.game)
    paid, _ = dreams.play(world, policy, seeds, *args.range, limit=args.steps)
    return paid.view(args.population, args.rollouts).numpy(), 0


def _checkpoint(
    run: Run, curve: list[dict[str, Any]], search: CMAES, steps: np.ndarray | None
) -> None:
    """Write the search's state and, last, the curve, which says how much of it counts."""
    tensors = {name: torch.tensor(array) for name, array in search.state().items()}
    if steps is not None:
        tensors["steps"] = torch.tensor(steps)
    save_tensors(run.path.parent / "evolution.safetensors", tensors)
    run.write(curve=curve)


def _resume(
    run: Run, args: Args, config: ControllerConfig
) -> tuple[list[dict[str, Any]], list[np.ndarray], np.ndarray | None]:
    """Return the curve, the losses and the first steps so far.

    Raises:
        CheckpointError: if they are damaged.
    """
    if not run.facts:
        return [], [], None
    required, optional = ("generation", "dream"), ("real", "final", "real_frames", "sigma")
    curve = check_numbers(run.facts.get("curve"), run.path, required, optional)
    path = run.path.with_suffix(".safetensors")
    tensors = load_tensors(path)
    losses, steps = tensors.get("losses", torch.empty(0)), tensors.get("steps")
    if (
        losses.ndim != 2
        or losses.shape[1] != args.population
        or len(losses) < len(curve)
        or [point["generation"] for point in curve] != list(range(1, len(curve) + 1))
        or (steps is None) == args.scaled
        or (steps is not None and (steps.shape != (config.parameters,) or not (steps > 0).all()))
    ):
        raise CheckpointError(f"{path} does not hold what {run.path.name} tells of: {OTHER}")
    return curve, list(losses.numpy()[: len(curve)]), None if steps is None else steps.numpy()


def plot(curve: list[dict[str, Any]], path: str | Path) -> None:
    """Draw the learning curve, in the dream and in reality, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    generations = [point["generation"] for point in curve]
    axes.plot(
        generations, [point["dream"] for point in curve], label="where it learns, population mean"
    )
    tested = [point for point in curve if "real" in point]
    if tested:
        reality = [point["real"] for point in tested]
        axes.plot([p["generation"] for p in tested], reality, "o-", label="real game, CMA-ES mean")
    finals = [point for point in curve if "final" in point]
    if finals:
        scores = [point["final"] for point in finals]
        axes.plot([p["generation"] for p in finals], scores, "*", label="real game, last choice")
    axes.set(xlabel="generation", ylabel="return")
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def main(
    args: Flat[Args],
    task: Name = "",
    out: str = "",
    processes: int = 0,
    device: str = "cpu",
    form: str = "auto",
) -> None:
    """Evolve a controller in the dream by CMA-ES.

    Args:
        task: The game; the world's if empty.
        out: Folder of the run; runs/GAME-controller if empty.
        processes: Real games that are played at once; 0: one for each core.
        device: Where it dreams, such as cpu or cuda.
        form: How it dreams there: auto, torch, or compiled for a GPU.
    """
    if args.reality:
        dreamt = {"temperature": args.temperature is not None, "device": device != "cpu",
                  "form": form != "auto"}  # fmt: skip
        for name in filter(dreamt.get, dreamt):
            raise ValueError(f"--{name} is for dreams, --reality has none: leave one of them out")
    task = game_for(task, args.world)
    out = out or f"{RUNS}/{task}-controller"
    args = replace(args, world=args.world or task)
    evolve(args, out, Local(processes), device=device, form=form)
    print(f"the controller is {out}/controller.safetensors")
