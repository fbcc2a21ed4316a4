"""The command `evolve`: evolve C in the dream, and keep the controller that transfers best.

Every few generations the mean of CMA-ES plays the real game as a controller: a validation. At the
end the best of these controllers play again, on fresh seeds, and the final choice is made by that.
"""

from __future__ import annotations

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
from dreamgym.world import World, room

from .flags import RUNS, Flat, Name, Tau, Whole, game_for, world_for
from .optimisers import CMAES
from .play import dreams
from .play.executors import Executor, Local
from .play.games import score, tournament
from .play.policies import Controlled, controller_config, load_fitting
from .runs import OTHER, Run, check_input, check_numbers, read
from .splits import DEMO, FINAL, VALIDATION

SPREAD = 1.0
"""Standard deviation of the sums before C's tanh in the first generation, if `Args.scaled`."""
UNIT = 0.6
"""Standard deviation of a hidden unit: tanh of a normal number of standard deviation 1."""


@dataclass(frozen=True)
class Args:
    """How C is evolved."""

    world: str = ""
    """A folder, or the name of a shipped world; if left out, the game's shipped world."""
    generations: Whole = 100
    """Generations of CMA-ES."""
    population: int = 64
    """Controllers in each generation (World Models, §A.3)."""
    rollouts: int = 16
    """Dreams for each controller; all controllers get the same seeds (World Models, §A.3)."""
    temperature: Tau = None
    """Temperature of the dreams, or a range from which each draws; if left out, the game's."""
    steps: int = 0
    """Steps after which a dream is cut off; 0: only the game's own limit applies."""
    anywhere: float = 0.0
    """Share of the dreams that begin at moments inside real games, and not at first frames."""
    short: int = 300
    """Steps after which dreams that begin inside real games are cut off; 0: as all other dreams,
    see `steps`."""
    validate: int = 10
    """Generations from one validation of the mean in the real game to the next; 0: none."""
    games: int = 40
    """Real games in each validation."""
    finalists: int = 3
    """How many of the best validated controllers play again for the final choice; 0 or 1: none."""
    final_games: int = 100
    """Fresh real games for each finalist, the same for all. Then the better half plays on until
    each has played twice as many, and so on, until one is left. They are needed because the best of
    many noisy validations is partly luck."""
    init: str = ""
    """File of a controller of the same shape, from which to begin; if left out, from zeros."""
    width: float = 0.5
    """Factor on the first step of a search that goes on from `init`: the full one would destroy
    what that controller has learned. Our choice."""
    reality: bool = False
    """Learn in the real game instead of the dream, as the paper's C for CarRacing did."""
    observation: str = ""
    """What C sees: z, zh, zhc or own; if left out, the game's own."""
    hidden: int = 0
    """Units of a hidden layer in C; 0: C is linear."""
    scaled: bool = True
    """Divide the first step of a weight by the standard deviation of its input. Our choice.
    z, h and c vary on different scales, and CMA-ES cannot learn these in so few generations."""
    seed: int = 0
    """Seed of CMA-ES; the seeds of the dreams follow from it."""

    def __post_init__(self) -> None:
        least = {"generations": 1, "population": 4, "rollouts": 1, "validate": 0, "games": 1,
                 "final_games": 1, "finalists": 0, "hidden": 0, "steps": 0, "short": 0,
                 "anywhere": 0}  # fmt: skip
        most = {"rollouts": VALIDATION - 1, "games": FINAL - VALIDATION, "seed": 2**32 - 1,
                "final_games": DEMO - FINAL, "anywhere": 1}  # fmt: skip
        for name, low in (least | {"seed": 0}).items():
            if not low <= getattr(self, name) <= most.get(name, np.inf):
                high = f"to {most[name]:,}" if name in most else "or more"
                raise ValueError(f"{name} is {getattr(self, name)}: give {low} {high}")
        if not self.width > 0:
            raise ValueError(f"width is {self.width}: give a factor above 0")
        if self.temperature is not None:
            parse_temperature(self.temperature)
        if self.reality and self.steps:
            raise ValueError(f"steps is {self.steps}: only dreams are cut off, real games are not")

    @property
    def range(self) -> tuple[float, float]:
        """The two ends of the temperature's range; `temperature` must not be None."""
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
    """Evolve a controller in the run folder `out`, resuming what is there, and return the best one.

    The best one is the winner of the final choice, or else of the validations; without validations
    it is the mean of the last generation.

    A checkpoint holds the losses of all generations so far. CMA-ES depends only on its seed, its
    first steps and these losses, so telling it the same losses again restores it bit for bit,
    without a pickle.

    Args:
        seconds: begin no further generation after this time; the first one always runs.
        device: where the dreams run.
        form: how they are computed there, see `world.FORMS`.

    Raises:
        ValueError: if `out` was begun with other arguments, in another world or from another
            controller, or if the population needs more memory than this machine has.
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
            raise ValueError(f"init {args.init} is a {begun.config}, the search needs a {config}")
        first = begun.weights.double().numpy()
        check_input(args.init)
        inputs["init"] = policy_fingerprint(args.init)
    with Run(out, "evolution", args, inputs, grows="generations") as run:
        evolution = _Evolution(run, args, world, config, first, executor, progress)
        evolution.go_on(began, seconds)
        return evolution.keep_best()


class _Evolution:
    """A search in a run folder, as far as it has come.

    Its curve holds a point for each generation, with the scores in the dream and in the real game.
    """

    def __init__(
        self, run: Run, args: Args, world: World, config: ControllerConfig, first: np.ndarray,
        executor: Executor, progress: bool,
    ):  # fmt: skip
        self.run, self.args, self.world, self.config = run, args, world, config
        self.executor, self.silent = executor, not progress
        self.path = run.path.parent / "controller.safetensors"
        self.curve, losses, self.steps = _resume(run, args, config)
        run.at_least(len(self.curve))
        if self.steps is None and args.scaled:
            self.steps = first_steps(world, config, args)
        scale = SPREAD * (args.width if args.init else 1) if args.scaled else None
        self.search = CMAES(first, args.population, args.seed, self.steps, scale)
        self.means: list[Controller] = []  # of all generations: any may become a finalist
        for past in losses:
            self.search.ask()
            self._tell(past)

    def go_on(self, began: float, seconds: float) -> None:
        """Evolve the generations that are missing, but begin none so many seconds after `began`."""
        missing = range(len(self.curve), self.args.generations)
        with (
            _bar(self.args, len(self.curve), seconds, self.silent) as bar,
            SummaryWriter(str(self.path.parent / "log")) as log,
        ):
            for generation in missing:
                if self.curve and time.monotonic() - began > seconds:
                    break
                point = self._generation(generation)
                if self.args.validate and point["generation"] % self.args.validate == 0:
                    self._validate(point)
                self.curve.append(point)
                self._checkpoint()
                for key in point.keys() - {"temperature"}:
                    log.add_scalar(f"controller/{key}", point[key], point["generation"])
                passed = min(time.monotonic() - began, seconds)  # tqdm draws no bar beyond its end
                bar.update(1 if seconds == np.inf else passed - bar.n)
                shown = ("generation", "dream", "real", "impossible")
                bar.set_postfix({k: f"{point[k]:.3g}" for k in shown if k in point})

    def keep_best(self) -> Controller:
        """Write the best controller so far and the curve's picture, and return the controller."""
        validated = sorted((p for p in self.curve if "real" in p), key=lambda p: -p["real"])
        complete = len(self.curve) == self.args.generations
        best = validated[0] if validated else self.curve[-1]
        if complete and self.args.finalists > 1 and validated:
            best = self._finals(validated[: self.args.finalists])
        # The frames of validations after the best one count too.
        facts = best | ({"real_frames": spent(self.path.parent)} if validated else {})
        save_controller(self.path, self._mean(best), **facts)
        plot(self.curve, self.path.parent / "curve.png")
        if complete:
            self.run.finish()
        return load_controller(self.path)

    def _generation(self, number: int) -> dict[str, Any]:
        """Let a generation play, tell CMA-ES the outcome, and return its point of the curve."""
        args, world, members = self.args, self.world, self.search.ask()
        returns, frames = _population(world, self.config, members, args, number, self.executor)
        self._tell(-returns.mean(1))
        point: dict[str, Any] = {
            "generation": number + 1,
            "dream": float(returns.mean()),
            "dream_best": float(returns.mean(1).max()),
            "sigma": self.search.sigma,
            "temperature": list(args.range),
        }
        most = world.rules.most(args.steps or world.game.max_steps)
        if most < np.inf:
            point["impossible"] = float((returns > most).mean())
        if frames:
            self._spend(point, frames)
        return point

    def _tell(self, losses: np.ndarray) -> None:
        self.search.tell(losses)
        mean = torch.tensor(self.search.mean, dtype=torch.float32)
        self.means.append(Controller(self.config, mean))

    def _mean(self, point: dict[str, Any]) -> Controller:
        return self.means[point["generation"] - 1]

    def _validate(self, point: dict[str, Any]) -> None:
        """Let the mean of the last generation play real games, and write it if it is the best."""
        earlier = max((p["real"] for p in self.curve if "real" in p), default=-np.inf)
        self._compete(point, "real", range(VALIDATION, VALIDATION + self.args.games))
        if point["real"] > earlier:
            save_controller(self.path, self._mean(point), **point)
        elif self.path.exists():  # the frames of this validation count too
            record = self.path.with_suffix(".json")
            write_json(record, read_json(record) | {"real_frames": point["real_frames"]})

    def _finals(self, rivals: list[dict[str, Any]]) -> dict[str, Any]:
        """Let validated means play on, the better half of them twice as long, until one is left."""
        games = self.args.final_games
        while True:
            for point in tqdm(rivals, f"final choice, {games} games", disable=self.silent):
                if (done := point.get("final_games", 0)) < games:
                    self._compete(point, "final", range(FINAL + done, FINAL + games))
                    point["final_games"] = games
                    self._checkpoint()
            rivals = sorted(rivals, key=lambda p: -p["final"])[: (len(rivals) + 1) // 2]
            if len(rivals) == 1:
                return rivals[0]
            games *= 2

    def _compete(self, point: dict[str, Any], key: str, seeds: range) -> None:
        """Let the mean of a generation play real games, and put its mean return into its point.

        That counts the games before these seeds too, which the controller has played already.
        """
        name, folder = self.world.game.name, world_folder(self.args.world)
        played = score(name, folder, self._mean(point), seeds, self.executor, progress=False)
        earlier = seeds.start - (VALIDATION if key == "real" else FINAL)
        total = sum(each["return"] for each in played) + earlier * point.get(key, 0.0)
        point[key] = total / (earlier + len(seeds))
        self._spend(point, sum(each["length"] for each in played))

    def _spend(self, point: dict[str, Any], frames: int) -> None:
        """Add frames to the count of real frames so far, and keep the sum in a point."""
        before = max((p.get("real_frames", 0) for p in [*self.curve, point]), default=0)
        point["real_frames"] = before + frames

    def _checkpoint(self) -> None:
        """Write the search's state and then the curve, whose length says how many losses count."""
        tensors = {name: torch.tensor(array) for name, array in self.search.state().items()}
        if self.steps is not None:
            tensors["steps"] = torch.tensor(self.steps)
        save_tensors(self.path.parent / "evolution.safetensors", tensors)
        self.run.write(curve=self.curve)


def _bar(args: Args, done: int, seconds: float, off: bool) -> Any:
    """Return a progress bar: of generations, or of seconds if the clock ends the search."""
    if seconds == np.inf:
        return tqdm(
            total=args.generations, initial=done, unit=" generations", desc="C", disable=off
        )
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s{postfix}"
    return tqdm(total=seconds, desc="C", bar_format=form, disable=off)


def _check_population(args: Args, world: World, config: ControllerConfig) -> None:
    """Refuse a population that needs more memory than this machine has.

    Raises:
        ValueError: with the sizes, and how much memory is needed or how many dreams fit.
    """
    try:
        world.check_room(args.population * (1 if args.reality else args.rollouts))
        there = room(torch.device("cpu"))
        each = 8 * 4 + 4 * args.rollouts  # bytes a weight: in pycma, and in each dream
        square = 8 * 4 * config.parameters**2  # CMA-ES's covariance, its root and the like
        if (need := each * args.population * config.parameters + square) > there:
            raise ValueError(f"it needs {need / 2**30:,.0f} GiB, there are {there / 2**30:,.0f}")
    except ValueError as error:
        raise ValueError(
            f"population is {args.population}, rollouts {args.rollouts}, C has {config.parameters} "
            f"weights: too many for this machine ({error})"
        ) from None


def spent(out: str | Path) -> int:
    """Return how many real frames the evolution in a run folder has used so far."""
    path = Path(out) / "evolution.json"
    curve = check_numbers(read(path).get("curve"), path, ("generation",), ("real_frames",))
    return max((int(point.get("real_frames", 0)) for point in curve), default=0)


def first_steps(world: World, config: ControllerConfig, args: Args) -> np.ndarray:
    """Return the first step of each weight (P,), such that each layer's sums have variance 1.

    A step is inversely proportional to the standard deviation of the weight's input, which is
    measured in dreams with random actions.
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
    """Let each of M members play R dreams or R real games.

    Returns their returns (M, R), and the number of real frames that were played, 0 in dreams.
    """
    first = (args.seed * 100_003 + generation) * args.rollouts % (VALIDATION - args.rollouts)
    games = range(first, first + args.rollouts)
    if args.reality:
        players = [Controller(config, torch.from_numpy(each).float()) for each in members]
        return tournament(world.game.name, world_folder(args.world), players, games, executor)
    weights = torch.from_numpy(members).float().to(world.device)
    weights = weights.repeat_interleave(args.rollouts, 0)
    seeds = torch.tensor(games).repeat(args.population)
    policy = Controlled(Controller(config, weights), world.game)
    played = dreams.play(
        world, policy, seeds, *args.range, args.steps, anywhere=args.anywhere, short=args.short
    )
    return played.returns.view(args.population, args.rollouts).numpy(), 0


def _resume(
    run: Run, args: Args, config: ControllerConfig
) -> tuple[list[dict[str, Any]], list[np.ndarray], np.ndarray | None]:
    """Return the curve so far, its losses, and the first steps, which are None if not scaled.

    Raises:
        CheckpointError: if they are damaged.
    """
    if not run.facts:
        return [], [], None
    required, optional = (
        ("generation", "dream"),
        ("real", "final", "final_games", "real_frames", "sigma"),
    )
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
    """Draw the learning curve, in the dream and in the real game, as a PNG."""
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
        axes.plot([p["generation"] for p in finals], scores, "*", label="real game, final choice")
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
        task: The game; if left out, that of the world, or else doom.
        out: Folder of the run; if left out, runs/GAME-controller.
        processes: Worker processes that play real games; 0: one for each core.
        device: Where the dreams run, such as cpu or cuda.
        form: How they are computed there: auto, torch, or compiled.
    """
    if args.reality:
        dreamt = {"temperature": args.temperature is not None, "device": device != "cpu",
                  "form": form != "auto"}  # fmt: skip
        for name in filter(dreamt.get, dreamt):
            raise ValueError(f"--{name} is for dreams, --reality has none: leave one of them out")
    task = game_for(task, args.world)
    out = out or f"{RUNS}/{task}-controller"
    args = replace(args, world=world_for(task, args.world))
    evolve(args, out, Local(processes), device=device, form=form)
    print(f"the controller is {out}/controller.safetensors")
