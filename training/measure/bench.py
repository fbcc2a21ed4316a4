"""The command `bench`: speeds of dreams, real games and training, in one run on one machine."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from dreamgym.checkpoint import PRECISIONS, load_world, shared_world, world_folder, write_json
from dreamgym.engines.linear import Linear, supports_bfloat16
from dreamgym.engines.threads import shared
from dreamgym.envs.workers import SPAWN, SPINS
from dreamgym.files import check_writable
from dreamgym.games import Game
from dreamgym.models.controller import Controller
from dreamgym.models.mdn_rnn import MDNRNN
from dreamgym.models.vae import VAE
from dreamgym.modes import bfloat16
from dreamgym.sb3 import DreamVecEnv
from dreamgym.world import SHARE, State, World

from .. import evolve, train
from ..flags import Name, game_for, world_for
from ..play.executors import Local
from ..play.games import check_shown
from ..play.policies import Controlled, controller_config
from . import yardstick
from .report import HEAD, speed
from .results import origin

Answer = TypeVar("Answer")

WORDS = {"auto": (), "torch": ("PyTorch alone",), "compiled": ("PyTorch's compiler",)}
"""What a row's label says of the world's `form`."""
SECONDS = 3.0
"""Seconds for which each row is measured."""
TURNS = 3
"""Number of parts of each measurement.

The parts alternate with those of the row that it is compared with, because other programs may slow
the machine for a while.
"""
SIZES = (1, 16, 64, 256, 1024, 4096)
"""Numbers of dreams in a batch."""
LANES = 64
"""Dreams in which PPO learns, beside the number in `dreamgym.zoo`: as many as users often take."""
TRAINING = (16, 64)
"""Episodes and steps in M's batch; fewer episodes than in training, so that a step is short."""


def bench(world: str, sizes: tuple[int, ...] = SIZES, device: str = "cpu") -> dict[str, Any]:
    """Measure the speeds of the real game, the dream and the learners, and return them as rows.

    `rows` is a list of dicts. Each has `what`, its label, and `rate`, a number per second. Some
    have these, too:

    * `ratio`: the rate divided by the rate of the row that it is compared with.
    * `share`, of dreams: the rate divided by the rate of M's matrix products alone, in the fastest
      way known on this machine.
    * `added`, of dreams and environments: microseconds a step beside the matrix products, or beside
      the dream's step.
    * `jax`, of environments: the rate divided by that of a plain step of M in JAX.
    * `waiting`, of learners: the share of the time in which they wait for their environments.

    `left_out` names what this machine cannot do, with the reason. The real games are measured
    before everything else and again after it; their rates are the means of both.

    Args:
        device: where the dreams run; real games and learners stay on the CPU.
    """
    folder = world_folder(world)
    shared_world(str(folder), device)  # refuses an unknown device
    model, cores = load_world(folder), torch.get_num_threads()
    check_shown(model)
    game = model.game
    rows: list[dict[str, Any]] = []
    fastest = "bfloat16" if supports_bfloat16(device) else "float32"
    left_out: dict[str, str] = {}
    real, alone = f"{game.pixel_id}, {cores} processes", f"{game.pixel_id}, one game alone"
    twin = f"{game.latent_id}, {cores} processes"
    games = {f"{what}, {cores} processes": (name, "", cores) for what, name in game.engines}
    games |= {real: (game.pixel_id, "", cores), alone: (game.pixel_id, "", 1)}
    games |= {twin: (game.latent_id, str(folder), cores)}
    before = {what: real_rate(*how) for what, how in games.items()}

    def add(what: str, rate: float, against: float | str = 0.0, **more: float) -> None:
        rows.append({"what": what, "rate": rate, "against": against} | more)

    def dreams(form: str, precision: str) -> None:
        dreaming = model.to(device, PRECISIONS[precision], form)
        how = [precision, *there, *WORDS[form]]
        for size in sizes if form == "auto" or device != "cpu" else (most,):
            *bounds, rate = rates(size, *products(dreaming, size), dream(dreaming, size))
            bound = max(bounds)
            added = 1e6 * size * (1 / rate - 1 / bound)
            add(f"dream × {size:,}, {', '.join(how)}", rate, real, share=rate / bound, added=added)
        if form != "torch":
            with _Apart() as process:
                given = (str(folder), device, precision, form, most)
                driven = rate_of(process.of(_driven, *given), most)
            add(f"dream × {most:,}, each with a C of its own, {', '.join(how)}", driven, real)

    most, there = min(1024, sizes[-1]), [device] * (device != "cpu")
    able = [
        precision for precision in PRECISIONS if precision == "float32" or supports_bfloat16(device)
    ]
    for precision in able:
        env = gym.make(game.dream_id, world=str(folder), precision=precision)
        what = f"{game.dream_id}, one dream alone, one thread, {precision}; × one game alone"
        with one_thread():
            add(what, rate_of(play(env)), alone)
    _environments(model, str(folder), sizes, real, add)
    if not yardstick.installed():
        left_out["JAX"] = "it is not installed"
    for precision in able:
        dreams("auto", precision)
    dreams("torch", fastest)
    if device != "cpu" or shutil.which("g++"):
        dreams("compiled", fastest)
    else:
        left_out[f"dreams by {WORDS['compiled'][0]}"] = "there is no C++ compiler"
    quick = model.to(device, PRECISIONS[fastest])
    for size in sizes:
        seen = rate_of(dream(quick, size, decoded=True), size, seconds=SECONDS / 2)
        add(f"dream × {size:,}, {', '.join(('decoded to frames', fastest, *there))}", seen, real)
    _learning(model, add)
    for what, where in {"dreams": device, "V and M": "cpu"}.items():
        if not supports_bfloat16(where):
            left_out[f"{what} in bfloat16"] = f"{where} does not multiply in it by itself"
    with _Apart() as process:
        rows += process.call(_agents, str(folder), game)
    after = {what: (rate + real_rate(*games[what])) / 2 for what, rate in before.items()}
    rows = [{"what": what, "rate": rate, "against": real} for what, rate in after.items()] + rows
    for row in rows:
        against = row.pop("against")
        if against:
            row["ratio"] = row["rate"] / after.get(against, against)
    return {**origin(), "rows": rows, "left_out": left_out}


def _environments(
    model: World, folder: str, sizes: tuple[int, ...], real: str, add: Callable[..., None]
) -> None:
    """Add the rows of the environments: what they add to a dream's step, and how many times JAX's
    rate they have."""
    name = model.game.dream_id
    for size in sizes:
        works = {"gym.make_vec": play_batch(gym.make_vec(name, size, world=folder)),
                 "DreamVecEnv": play_batch(DreamVecEnv(name, size, world=folder))}  # fmt: skip
        if size == 1:
            works = {"gym.make": play(gym.make(name, world=folder))} | works
        with _Apart() as process:
            jax = [process.of(yardstick.step, model.memory.config, size)]
            jax = jax if yardstick.installed() else []
            dreamt, *came = rates(size, dream(model, size), *works.values(), *jax)
        beside = came.pop() if jax else None
        for what, rate in zip(works, came, strict=True):
            facts = {"added": 1e6 * size * (1 / rate - 1 / dreamt)}
            if beside:
                facts["jax"] = rate / beside
            add(f"{name} × {size:,}, {what}, float32", rate, real, **facts)
        if beside:
            add(f"M's step × {size:,} in JAX, float32", beside, real)


def _learning(model: World, add: Callable[..., None]) -> None:
    """Add the rows of V and M.

    V is compared with PyTorch's own layers in float32, and M in bfloat16 with M in float32.
    """
    frames = torch.randint(0, 256, (128, 64, 64, 3), dtype=torch.uint8)
    config, m = model.vae().config, model.memory.config
    half = supports_bfloat16("cpu")
    named = "bfloat16" if half else "float32"
    ours, stock = fast(VAE(config)), StockVAE(config)
    for what, slow, quick in (
        ("V training", fit(stock, frames), fit(ours, frames, half)),
        ("V encoding", see(stock, frames), see(ours, frames, half)),
    ):
        before, now = rates(len(frames), slow, quick)
        add(f"{what}, stock layers, float32", before)
        add(f"{what}, ours, {named}", now, before)
    works = [remember(MDNRNN(m)), *([remember(MDNRNN(m), half=True)] if half else [])]
    before, *halved = rates(math.prod(TRAINING), *works)
    add("M training, ours, float32", before)
    for now in halved:
        add("M training, ours, bfloat16", now, before)


def _agents(world: str, game: Game) -> list[dict[str, Any]]:
    """Return the rows of CMA-ES in the dream, and of PPO in the dream and in the real twin."""
    steps, generations = 100, 3
    args = evolve.Args(world, generations, steps=steps, validate=0)
    with TemporaryDirectory() as out:
        began = time.perf_counter()
        evolve.evolve(args, out, Local(1), progress=False)
        rate = generations / (time.perf_counter() - began)
    what = f"CMA-ES, generations of 1,024 dreams of {steps} steps"
    rows: list[dict[str, Any]] = [{"what": what, "rate": rate, "against": 0.0}]
    for where, learning, rollouts in (
        ("the dream", train.Args(world, envs=LANES), 3),
        ("the dream", train.Args(world), 3),
        ("the real twin", train.Args(world, env="twin"), 1),
    ):
        hyper = train.hyperparameters(learning, game)
        envs = train.dreams(learning, game, hyper)
        timed, kwargs = _Timed(envs), hyper["kwargs"]
        if where == "the real twin":
            # a longer rollout of real games would take minutes
            kwargs["n_steps"] = min(kwargs["n_steps"], 128)
            kwargs["batch_size"] = min(kwargs["batch_size"], kwargs["n_steps"] * envs.num_envs)
        made = PPO(hyper["policy"], timed, device="cpu", **kwargs)
        made.learn(1)  # to warm up
        timed.spent, began = 0.0, time.perf_counter()
        made.learn(rollouts * made.n_steps * envs.num_envs)
        wall = time.perf_counter() - began
        what = f"PPO, steps in {where} × {envs.num_envs}"
        rate = rollouts * made.n_steps * envs.num_envs / wall
        rows.append({"what": what, "rate": rate, "against": 0.0, "waiting": timed.spent / wall})
        envs.close()
    return rows


class _Apart:
    """A process of its own, whose threads spin as briefly as in `train`.

    There a library's threads that look for work slow nothing that is measured here.
    """

    def __enter__(self) -> _Apart:
        spins = (SPINS[0], os.environ.get(*SPINS))
        self.process = ProcessPoolExecutor(1, SPAWN, initializer=os.putenv, initargs=spins)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.shutdown()

    def call(self, function: Callable[..., Answer], *given: object) -> Answer:
        """Return what a function returns there."""
        return self.process.submit(function, *given).result()

    def of(self, make: Callable[..., Callable[[], object]], *given: Any) -> _Elsewhere:
        """Return a work that is made and done there."""
        return _Elsewhere(self, make, given)


@dataclass(frozen=True)
class _Elsewhere:
    """A work in another process, which also measures it."""

    process: _Apart
    make: Callable[..., Callable[[], object]]
    given: tuple[Any, ...]

    def __call__(self) -> None:
        self.turn(0)

    def turn(self, seconds: float) -> float:
        return self.process.call(_made_and_timed, self.make, self.given, seconds)


@cache
def _made(make: Callable[..., Callable[[], object]], given: tuple[Any, ...]) -> Any:
    return make(*given)


def _made_and_timed(make: Any, given: tuple[Any, ...], seconds: float) -> float:
    """Return how many times a second a work is done, which is made only once."""
    return _turn(_made(make, given), seconds)


def rates(size: float, *works: Callable[[], object], seconds: float = 0.0) -> list[float]:
    """Return the rate of each work: calls per second times `size`, the median of `TURNS` turns."""
    for work in works * 2:  # to warm up
        work()
    turns = [[_turn(work, (seconds or SECONDS) / TURNS) for work in works] for _ in range(TURNS)]
    return [float(size * rate) for rate in np.median(turns, axis=0)]


def rate_of(work: Callable[[], object], size: float = 1, seconds: float = 0.0) -> float:
    """Return the rate of one work: calls per second times `size`."""
    return rates(size, work, seconds=seconds)[0]


def _turn(work: Callable[[], object], seconds: float) -> float:
    """Return how many times a second a work is done, measured for so many seconds."""
    if isinstance(work, _Elsewhere):
        return work.turn(seconds)
    _wait()
    done, began = 0, time.perf_counter()
    while not done or time.perf_counter() - began < seconds:
        work()
        done += 1
    _wait()
    return done / (time.perf_counter() - began)


def _wait() -> None:
    """Wait until each GPU has finished its work."""
    for index in range(torch.cuda.device_count()):
        torch.cuda.synchronize(index)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside this context, as a game does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def products(world: World, size: int) -> Iterator[Callable[[], object]]:
    """Yield each way to compute M's two matrix products, and nothing else, for `size` dreams.

    Which way is the fastest depends on the size and on the processor. Either each product is
    divided between the threads, or the rows (dreams) are, as in a step of a dream. On a CPU each
    of these is done with packed weights and with plain ones.
    """
    m = world.memory
    if world.engine:
        yield world.engine.products(size)
    for packed in (True, False) if world.device.type == "cpu" else (False,):
        gates = Linear(torch.cat((m.weight_ih, m.weight_hh), dim=1), m.bias, packed)
        head = Linear(m.head.weight, m.head.bias, packed)
        seen = torch.randn(size, gates.weight.shape[1]).to(gates.weight)
        h = torch.randn(size, m.config.hidden).to(gates.weight)

        def multiply(
            rows: slice, gates: Linear = gates, head: Linear = head, seen: torch.Tensor = seen,
            h: torch.Tensor = h,
        ) -> None:  # fmt: skip
            gates(seen[rows])
            head(h[rows])

        yield partial(multiply, slice(size))
        yield partial(shared, multiply, size, SHARE, torch_inside=True)


def play(env: gym.Env[Any, Any]) -> Callable[[], object]:
    """Return a function that steps one environment, and resets it when its episode is over."""
    env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample()

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return step


def play_batch(envs: Any) -> Callable[[], object]:
    """Return a step of a batch of environments that begin anew by themselves."""
    envs.reset()
    space = envs.action_space
    actions = space.sample() if isinstance(envs, VectorEnv) else np.stack(
        [space.sample() for _ in range(envs.num_envs)]
    )  # fmt: skip
    return lambda: envs.step(actions)


def dream(
    world: World, size: int, driven: bool = False, decoded: bool = False
) -> Callable[[], object]:
    """Return a function that steps `size` dreams; none of them is removed when it ends.

    Args:
        driven: each dream is played by a controller of its own; otherwise the actions are zero.
        decoded: V decodes each step's latents to frames.
    """
    state, device = world.start(torch.arange(size)), world.device
    config = controller_config(world)
    weights = 0.01 * torch.randn(size, config.parameters, device=device)
    player = Controlled(Controller(config, weights), world.game)
    player.begin(torch.arange(size))
    still = torch.zeros(size, config.actions, device=device)
    temperature = torch.ones(size, 1, device=device)
    now: list[State] = [state]

    def step() -> None:
        seen = world.observe(now[0], config.observation) if driven else still
        now[0], _, _ = world.step(now[0], player.act(seen) if driven else still, temperature)
        if decoded:
            world.decode(now[0].z)

    return step


def _driven(folder: str, device: str, precision: str, form: str, size: int) -> Callable[[], object]:
    """Return a function that steps dreams of a world, each played by a controller of its own."""
    model = load_world(folder).to(device, PRECISIONS[precision], form)
    return dream(model, size, driven=True)


def fast(v: VAE) -> VAE:
    """Return V in the memory format in which `training.vision` trains it."""
    return v.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fit(v: VAE, frames: torch.Tensor, half: bool = False) -> Callable[[], object]:
    """Return a function that does one training step of V."""
    adam = torch.optim.Adam(v.parameters(), fused=half)

    def step() -> None:
        with bfloat16("cpu", half):
            loss, _ = v.loss(frames)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def see(v: VAE, frames: torch.Tensor, half: bool = False) -> Callable[[], object]:
    """Return a function that encodes the frames by V."""

    @torch.no_grad()
    def step() -> None:
        with bfloat16("cpu", half):
            v.encode(frames)

    return step


def remember(m: MDNRNN, half: bool = False) -> Callable[[], object]:
    """Return a function that does one training step of M, on random latents."""
    adam = torch.optim.Adam(m.parameters(), fused=True)
    z = torch.randn(TRAINING[0], TRAINING[1] + 1, m.config.z_size)
    actions = torch.zeros(*TRAINING, m.config.action_size)
    outcomes, known = torch.zeros(*TRAINING, len(m.config.heads)), torch.ones(*TRAINING, 2)

    def step() -> None:
        with bfloat16("cpu", half):
            h, _ = m.unroll(z[:, :-1], actions)
            prediction = m.predict(h, z[:, :-1])
        loss, _ = m.loss(prediction, z[:, 1:], outcomes, known)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def workers_of(name: str, processes: int) -> VecEnv:
    """Return real games, each in its own process, made as users of Stable-Baselines3 do."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    return make_vec_env(f"dreamgym:{name}", processes, vec_env_cls=SubprocVecEnv)


class _Timed(VecEnvWrapper):
    """Adds up the seconds that a learner waits for its environments."""

    spent = 0.0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        began = time.perf_counter()
        self.venv.step_async(actions)
        self.spent += time.perf_counter() - began

    def step_wait(self) -> VecEnvStepReturn:
        began = time.perf_counter()
        came = self.venv.step_wait()
        self.spent += time.perf_counter() - began
        return came


class StockVAE(VAE):
    """V with PyTorch's own transposed convolutions, for comparison."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        x = self.decoder[0](self.dense(z)[:, :, None, None])
        for layer in self.decoder[1:]:
            x = layer(F.relu(x))
        return torch.sigmoid(x.float())


def real_rate(name: str, world: str, processes: int) -> float:
    """Return the steps per second of real games under random play, summed over the processes.

    The time to render the frames is included.

    Args:
        name: an id of Gymnasium's, or an entry point; see `Game.engines`.
        world: the world of a twin; empty for other environments.
    """
    jobs = [(name, world, seed) for seed in range(processes)]
    return float(sum(rate for _, rate in Local(processes).map(_game_rate, jobs)))


def _game_rate(job: tuple[str, str, int]) -> float:
    """Return the steps per second of one real game under random play."""
    name, world, seed = job
    step = _engine(name, seed) if ":" in name else _random(name, world, seed)
    step()  # to warm up: a twin's first step may compile
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    return steps / (time.perf_counter() - began)


def _engine(name: str, seed: int) -> Callable[[], object]:
    """Return a function that steps an engine, which is given by an entry point."""
    module, _, function = name.partition(":")
    step: Callable[[], object] = getattr(import_module(module), function)(seed)
    return step


def _random(name: str, world: str, seed: int) -> Callable[[], object]:
    """Return a function that takes a random step and returns what is seen then.

    It resets the game when it is over.
    """
    form: dict[str, Any] = {"world": world} if world else {}
    # As it is: unwrapped, a twin would be the game without V and M.
    env: Any = gym.make(name, continuous=False, disable_env_checker=True, **form)
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)

    def step() -> np.ndarray:
        seen: np.ndarray
        seen, _, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        if terminated or truncated:
            env.reset()
        return seen

    return step


def main(task: Name = "", world: str = "", device: str = "cpu", out: str | None = None) -> None:
    """Measure the speed of dreams, of the real game and of training, in one run.

    Args:
        task: The game; if left out, that of the world, or else doom.
        world: A folder, or the name of a shipped world; if left out, the game's shipped world.
        device: Where the dreams run, such as cpu or cuda.
        out: JSON file for the table; if left out, none is written.
    """
    task = game_for(task, world)
    if out:
        check_writable(out)
    table = bench(world_for(task, world), device=device)
    print(f"| {' | '.join(HEAD)} |")
    for row in table["rows"]:
        print(speed(row))
    for what, why in table["left_out"].items():
        print(f"| {what} | left out: {why} |")
    if out:
        write_json(out, table)
