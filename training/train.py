"""The command `train`: an algorithm of Stable-Baselines3 learns in the batched dream.

For comparison, it may also learn in the real game, seen through V and M or by its pixels.

At regular intervals the agent plays the real game: a validation. The agent with the best validation
is kept. If the validations no longer get better, learning stops, even if the dream's returns rise.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from tqdm import tqdm

from dreamgym.checkpoint import (
    CheckpointError,
    load_world,
    policy_fingerprint,
    read_json,
    real_frames,
    save_agent,
    save_controller,
    shared_world,
    world_fingerprint,
    world_folder,
    write_json,
)
from dreamgym.envs.arguments import parse_temperature
from dreamgym.files import replacing
from dreamgym.games import Game, own
from dreamgym.models.controller import Controller
from dreamgym.sb3 import ControllerPolicy, DreamVecEnv, UnitPolicy, scaled
from dreamgym.world import World

from .flags import RUNS, Flat, Name, Tau, Whole, game_for
from .play.executors import Executor, Local
from .play.exporting import exported
from .play.games import score
from .play.policies import (
    ALGORITHMS,
    FRAMES,
    STACK,
    algorithm,
    controller_config,
    load_fitting,
    load_trained,
)
from .runs import OTHER, Run, check_input, check_numbers, is_number
from .splits import FINAL, VALIDATION

PACE = ("steps", "seconds", "waiting")
"""What is summed up of learning, see `_resume`."""
TWINS = 16
"""Twins that run side by side if an agent learns in them and no number is given."""
ENVS = ("dream", "twin", "pixels")
"""Where an agent may learn."""
LATEST, BEST = "latest.zip", "policy.zip"
"""Files in the run folder: the agent from which learning goes on, and the best agent so far."""
SAVE_EVERY = 240.0
"""Seconds from one checkpoint to the next, besides those at the validations. Our choice: it is made
before a rollout, and a rollout takes less than a minute, so a killed run loses five at the most."""


@dataclass(frozen=True)
class Args:
    """How an agent learns."""

    world: str = ""
    """A folder, or the name of a shipped world; if left out, the game's shipped world."""
    algo: str = "ppo"
    """The algorithm: ppo, a2c, dqn, sac, td3, ppo_lstm, qrdqn or tqc."""
    timesteps: Whole = 0
    """Steps summed over all dreams; 0: the number in `dreamgym.zoo` for the algorithm."""
    temperature: Tau = None
    """Temperature of the dreams, or a range from which each draws; if left out, the game's."""
    anywhere: float = 0.0
    """The chance of each dream to begin inside a recorded game, instead of at a first frame."""
    steps: int = 0
    """Steps after which a dream is cut off; 0: the game's limit."""
    envs: int = 0
    """Dreams or real games that run side by side; 0: 16 where `env` is `twin`, otherwise the number
    in `dreamgym.zoo`."""
    observation: str = ""
    """What the agent sees: z, zh, zhc or own; if left out, the game's own."""
    scaled: bool = True
    """Divide each number that the agent sees by its own standard deviation, see `sb3.Scaled`."""
    linear: bool = False
    """Use a policy without hidden layers."""
    controller: bool = False
    """Learn the paper's C itself by ppo or a2c; `controller.safetensors` is written too."""
    rate: float = 0.0
    """Learning rate at first, which falls to 0 in a line; 0: that in `dreamgym.zoo`."""
    init: str = ""
    """File of a policy from which to begin: of a controller if `controller`, else the `.zip` of the
    same algorithm."""
    validate: Whole = 0
    """Steps from one validation in the real game to the next; 0: a tenth of `timesteps`."""
    games: int = 20
    """Real games in each validation."""
    patience: int = 4
    """Stop after this many validations in a row that are not better than the best; 0: never."""
    seed: int = 0
    """Seed of the algorithm and of its dreams."""
    env: str = "dream"
    """Where it learns: `dream`; `twin`, the real game seen through V and M; or `pixels`, the real
    game's last four frames seen by a convolutional network, for which the world is not used."""

    def __post_init__(self) -> None:
        if self.env not in ENVS:
            raise ValueError(f"env is {self.env!r}: choose one of {', '.join(ENVS)}")
        if self.env == "pixels" and (self.controller or self.linear or self.observation):
            raise ValueError("env is 'pixels': leave out controller, linear and observation")
        least = {"timesteps": 0, "envs": 0, "validate": 0, "games": 1, "patience": 0, "seed": 0,
                 "steps": 0}  # fmt: skip
        most = {"games": FINAL - VALIDATION, "seed": 2**31 - 1}
        for name, low in least.items():
            if not low <= getattr(self, name) <= most.get(name, np.inf):
                high = f"to {most[name]:,}" if name in most else "or more"
                raise ValueError(f"{name} is {getattr(self, name)}: give {low} {high}")
        if not 0 <= self.rate < np.inf:
            raise ValueError(f"rate is {self.rate}: give a number above 0, or 0 for the usual one")
        if not 0 <= self.anywhere <= 1:
            raise ValueError(f"anywhere is {self.anywhere}: give a probability, from 0 to 1")
        if self.env != "dream" and (self.anywhere or self.steps):
            raise ValueError(
                f"env is {self.env!r}: anywhere and steps are of dreams, leave them out"
            )
        if self.temperature is not None:
            parse_temperature(self.temperature)
        if self.controller and self.linear:
            raise ValueError("controller and linear: C is linear, leave out linear")
        if self.controller and self.algo not in ("ppo", "a2c"):
            raise ValueError(f"controller: {self.algo} cannot learn C, choose ppo or a2c")


def learn(
    args: Args,
    out: str | Path,
    executor: Executor,
    progress: bool = True,
    device: str = "cpu",
    earlier: int = 0,
) -> Path:
    """Train an agent in the run folder `out`, resuming what is there; return the best one's file.

    A run that is killed goes on from its last checkpoint, see `SAVE_EVERY`. The replay buffer of an
    off-policy algorithm is not saved: a resumed run fills it with new dreams first.

    The record, `learning.json`, holds a `curve` with a point for each validation: the `steps` and
    the `seconds` so far, the mean returns in the `dream` (where it learns) and in the `real` game,
    and the `real_frames` so far, of validations and of learning. It also holds the
    `steps_per_second` of learning, without validations, and `waited`: the share of that time in
    which the learner waited for its environments.

    Args:
        earlier: real frames behind the policy from which it begins; they count too.

    Raises:
        ValueError: if `out` was begun with other arguments or another world.
    """
    out, folder = Path(out), world_folder(args.world)
    world = load_world(folder)
    game = world.game
    world.size(args.observation or game.observation)  # refuses an unknown observation
    shared_world(str(folder), device)  # refuses an unknown device
    if args.env == "twin":
        args = replace(args, envs=args.envs or TWINS)
    if args.envs:
        world.check_room(args.envs)
    usual = game.temperature if args.temperature is None else args.temperature
    args = replace(args, temperature=parse_temperature(usual))
    hyper = hyperparameters(args, game)
    args = replace(args, timesteps=args.timesteps or int(hyper["n_timesteps"]))
    inputs = {"world": world_fingerprint(folder), "init": ""}
    if args.init:
        if not args.controller and Path(args.init).suffix != ".zip":
            raise ValueError(f"init {args.init} is no .zip of {args.algo}, which alone can go on")
        check_input(args.init)
        inputs["init"] = policy_fingerprint(args.init)
    with Run(out, "learning", args, inputs, "timesteps") as run:
        return _learn(run, args, game, hyper, executor, progress, device, earlier)


def _learn(
    run: Run,
    args: Args,
    game: Game,
    hyper: dict[str, Any],
    executor: Executor,
    progress: bool,
    device: str,
    earlier: int,
) -> Path:
    out, state = run.path.parent, _resume(run, earlier)
    if is_number(asked := run.before.get("timesteps", 0)):  # the last rollout may go further
        run.at_least(min(state["steps"], asked))
    if state["curve"] and not (out / BEST).exists():
        raise CheckpointError(f"{out / BEST} is missing, which {run.path.name} tells of: {OTHER}")
    envs = dreams(args, game, hyper, device)
    normal = VecNormalize(envs, norm_obs=False, gamma=hyper["kwargs"].get("gamma", 0.99))
    if not hyper["normalize"]:
        normal.norm_reward = False
    if returns := state.get("returns"):
        normal.ret_rms.mean, normal.ret_rms.var, normal.ret_rms.count = returns
    kind: Any = algorithm(args.algo)
    if (out / LATEST).exists() and state["steps"]:
        model = kind.load(out / LATEST, env=normal, device=device)
        fresh = np.random.SeedSequence((args.seed, model.num_timesteps)).generate_state(1)
        model.set_random_seed(int(fresh[0] >> 1))  # else it would dream its first dreams again
    else:
        try:
            model = kind(hyper["policy"], normal, seed=args.seed, device=device, **hyper["kwargs"])
        except AssertionError as error:  # the algorithm does not know such actions
            raise ValueError(f"{args.algo} cannot learn {game.called}: {error}") from error
        if args.init:
            _begin(model, args)
    model.set_logger(configure(str(out / "log"), ["tensorboard"]))
    if state["steps"] and hasattr(model, "replay_buffer"):
        played = _refill(model)
        state["real_frames"] += played if args.env != "dream" else 0
        run.write(**state)
    validation = _Validation(run, args, game, state, normal, executor, progress)
    left = args.timesteps - model.num_timesteps
    if left > 0 and not validation.over:
        model.learn(left, callback=validation, reset_num_timesteps=not state["steps"])
        if not validation.over and validation.last != model.num_timesteps:
            validation.validate()
    validation.bar.close()
    normal.close()
    export(out, shared_world(str(world_folder(args.world)), "cpu"))
    run.finish()
    if validation.over and progress:
        print(f"{args.algo} stopped: {args.patience} validations in a row brought no better score")
    return out / BEST


def _begin(model: Any, args: Args) -> None:
    """Give a new algorithm the weights of the policy from which it is to begin."""
    world = shared_world(str(world_folder(args.world)), "cpu")
    if not args.controller:
        model.set_parameters(load_trained(args.init, world).model.get_parameters())
        return
    begun, wanted = load_fitting(args.init, world), controller_config(world, args.observation)
    if begun.config != wanted:
        raise ValueError(f"init {args.init} is a {begun.config}, the search needs a {wanted}")
    model.policy.weights = begun.weights


def _refill(model: Any) -> int:
    """Fill a resumed algorithm's empty replay buffer by its own policy, without learning.

    Return the number of steps that were played.
    """
    steps, learns = model.num_timesteps, model.gradient_steps
    model.gradient_steps = 0
    model.learn(model.learning_starts, reset_num_timesteps=False)
    played = int(model.num_timesteps) - steps
    model.num_timesteps, model.gradient_steps = steps, learns
    return played


def hyperparameters(args: Args, game: Game) -> dict[str, Any]:
    """Return the hyperparameters in `dreamgym.zoo` for an algorithm and a game.

    Those that are arguments of the algorithm's class are in `kwargs`.

    Raises:
        ValueError: if there is no such algorithm, if it cannot learn from pixels, or if `linear` is
            asked of a recurrent one.
    """
    algorithm(args.algo)
    zoo = {name: import_module(f"dreamgym.zoo.{name}").hyperparams for name in ALGORITHMS}
    where = game.pixel_id if args.env == "pixels" else game.dream_id
    if where not in zoo[args.algo]:
        if game.own:
            raise ValueError(f"env is 'pixels': of {game.called}, only numbers and z can be seen")
        known = ", ".join(name for name in zoo if where in zoo[name])
        raise ValueError(f"env is 'pixels': {args.algo} cannot learn there, choose one of {known}")
    hyper = copy.deepcopy(zoo[args.algo][where])  # Stable-Baselines3 writes into `policy_kwargs`
    if game.own and args.algo == "ppo":
        hyper["gamma"] = own.discount(game.max_steps)
    if game.unit and args.algo in ("ppo", "a2c"):
        hyper["policy"] = UnitPolicy
    ours = ("n_timesteps", "policy", "normalize", "n_envs", "env_kwargs")
    kwargs = {key: value for key, value in hyper.items() if key not in ours}
    if "n_steps" in kwargs and "batch_size" in kwargs:  # fewer dreams may not fill a batch
        usual = TWINS if args.env == "twin" else hyper["n_envs"]
        rollout = kwargs["n_steps"] * (args.envs or usual)
        kwargs["batch_size"] = min(kwargs["batch_size"], rollout)
    if isinstance(rate := kwargs.get("learning_rate"), str):  # as rl-zoo3 writes it: lin_3e-4
        kwargs["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    if args.rate:
        kwargs["learning_rate"] = LinearSchedule(args.rate, 0.0, 1.0)
    if args.linear and "lstm" in args.algo:
        raise ValueError(f"linear: {args.algo} has a memory of its own, choose another algorithm")
    if args.linear:
        net = {"pi": [], "vf": [64]} if "n_steps" in kwargs else []
        kwargs["policy_kwargs"] = kwargs.get("policy_kwargs", {}) | {"net_arch": net}
    if args.scaled and args.env != "pixels":
        kwargs["policy_kwargs"] = kwargs.get("policy_kwargs", {}) | _scales(args, game)
    if args.controller:
        kwargs["policy_kwargs"] = kwargs.get("policy_kwargs", {}) | {"task": game.name}
        for of_agents in ("net_arch", "log_std_init"):  # C has no hidden layers, and less noise
            kwargs["policy_kwargs"].pop(of_agents, None)
        hyper["policy"] = ControllerPolicy
    hyper = {key: hyper.get(key) for key in ours}
    return hyper | {"kwargs": kwargs, "env_kwargs": hyper["env_kwargs"] or {}}


def dreams(args: Args, game: Game, hyper: dict[str, Any], device: str = "cpu") -> VecEnv:
    """Return the dreams, or the real games, in which an agent learns."""
    shared = {
        "world": args.world, "observation": args.observation or game.observation, "device": device,
    }  # fmt: skip
    shared |= hyper["env_kwargs"] | ({"continuous": True} if args.controller else {})
    if args.env == "pixels":
        few = {"continuous": shared["continuous"]} if "continuous" in shared else {}
        games = Timed(DreamVecEnv(game.pixel_id, args.envs or hyper["n_envs"], **few))
        return VecTransposeImage(VecFrameStack(VecMonitor(games), STACK))
    if args.env == "twin":
        return VecMonitor(Timed(DreamVecEnv(game.latent_id, args.envs or TWINS, **shared)))
    dreams = DreamVecEnv(
        game.dream_id, args.envs or hyper["n_envs"], temperature=args.temperature,
        precision="fastest", anywhere=args.anywhere, max_episode_steps=args.steps or None, **shared,
    )  # fmt: skip
    return VecMonitor(Timed(dreams))


class Timed(VecEnvWrapper):
    """Measures how long a learner waits for its environments: `waited`, in seconds."""

    waited = 0.0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        began = time.monotonic()
        came = self.venv.step_wait()
        self.waited += time.monotonic() - began
        return came


def _scales(args: Args, game: Game) -> dict[str, Any]:
    """Return the policy arguments by which it scales its observations, see `sb3.Scaled`."""
    return scaled(
        game.dream_id, world=args.world, temperature=args.temperature,
        observation=args.observation or game.observation, precision="fastest",
    )  # fmt: skip


class _Validation(BaseCallback):
    """Validates the agent in the real game, keeps the best one, and stops when none is better.

    Between two validations it saves the agent from which to resume, and it measures the pace.
    """

    def __init__(
        self, run: Run, args: Args, game: Game, state: dict[str, Any], dreams: VecNormalize,
        executor: Executor, progress: bool,
    ):  # fmt: skip
        super().__init__()
        self.run, self.args, self.game, self.state, self.dreams = run, args, game, state, dreams
        self.out, self.executor = run.path.parent, executor
        self.every = args.validate or max(args.timesteps // 10, 1)
        self.last = state["curve"][-1]["steps"] if state["curve"] else 0
        self.began = time.monotonic() - state["seconds"]
        self.bar = tqdm(total=args.timesteps, initial=state["steps"], unit=" steps",
                        unit_scale=True, desc=args.algo, disable=not progress)  # fmt: skip

    @property
    def over(self) -> bool:
        """Whether the last `patience` validations were not better than the best before them."""
        scores = [point["real"] for point in self.state["curve"]]
        late = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
        return 0 < self.args.patience <= late

    def _on_training_start(self) -> None:
        self.mark, self.saved_at = self._now(), time.monotonic()

    def _on_rollout_start(self) -> None:
        """Save the agent from which to resume; here, because half a rollout cannot be saved."""
        if time.monotonic() - self.saved_at >= SAVE_EVERY:
            _save(self.model, self.args.algo, self.out / LATEST)
            self._tally()
            self._record()

    def _on_step(self) -> bool:
        self.bar.update(self.num_timesteps - self.bar.n)
        if self.num_timesteps - self.last >= self.every:
            self.validate()
        return not self.over

    def validate(self) -> None:
        """Play the real game, record the scores, and save the agent from which to resume."""
        self._tally()
        self.last, seeds = self.num_timesteps, range(VALIDATION, VALIDATION + self.args.games)
        candidate = self.out / "candidate.zip"
        _save(self.model, self.args.algo, candidate)
        played = score(
            self.game.name, world_folder(self.args.world), candidate, seeds,
            self.executor, progress=False,
        )  # fmt: skip
        recent = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        self.state["real_frames"] += sum(game["length"] for game in played)
        curve = self.state["curve"]
        point = {
            "steps": self.last,
            "dream": float(np.mean(recent)) if recent else None,
            "real": float(np.mean([game["return"] for game in played])),
            "real_frames": self.state["real_frames"],
            "seconds": time.monotonic() - self.began,
        }
        # The curve may lack a validation whose agent is kept: a process can be killed in between.
        known = self.out / BEST.replace("zip", "json")
        before = read_json(known).get("real") if known.exists() else -np.inf
        if not is_number(before) and known.exists():
            raise CheckpointError(f"{known} is damaged (its 'real' is {before!r}): {OTHER}")
        best = point["real"] > before
        curve.append(point)
        if best:
            dreamt = {"temperature": list(cast(tuple[float, float], self.args.temperature))}
            told = point | (dreamt if self.args.env == "dream" else {})
            _save(self.model, self.args.algo, self.out / BEST, **told)
        else:  # the frames of this validation count too
            write_json(known, read_json(known) | {"real_frames": point["real_frames"]})
        for path in (candidate, candidate.with_suffix(".json")):
            path.replace(self.out / path.name.replace("candidate", "latest"))
        self._record()
        self.mark = self._now()
        self.logger.record("real/return", point["real"])
        self.logger.dump(self.last)
        self.bar.set_postfix(dream=f"{point['dream'] or 0:.0f}", real=f"{point['real']:.0f}")

    def _now(self) -> dict[str, float]:
        """Return the steps so far, the time, and how long the learner has waited."""
        steps, waited = self.num_timesteps, self.dreams.waited
        return {"steps": steps, "seconds": time.monotonic(), "waiting": waited}

    def _tally(self) -> None:
        """Add what was learned since the last mark to the sums of this session and those before."""
        now, sums = self._now(), self.state["pace"]
        if self.args.env != "dream":
            self.state["real_frames"] += now["steps"] - self.mark["steps"]
        self.state["pace"] = {key: sums[key] + now[key] - self.mark[key] for key in sums}
        self.mark = now

    def _record(self) -> None:
        """Write how far learning has come."""
        rms, pace = self.dreams.ret_rms, self.state["pace"]
        seconds = max(pace["seconds"], 1e-9)
        self.state |= {
            "steps": self.num_timesteps,
            "seconds": time.monotonic() - self.began,
            "returns": [float(rms.mean), float(rms.var), float(rms.count)],
            "steps_per_second": pace["steps"] / seconds,
            "waited": pace["waiting"] / seconds,
        }
        self.run.write(**self.state)
        self.saved_at = time.monotonic()


def _save(model: BaseAlgorithm, algo: str, path: Path, **facts: Any) -> None:
    with replacing(path) as file:
        model.save(cast(BufferedIOBase, file), exclude=["ep_info_buffer", "ep_success_buffer"])
    write_json(path.with_suffix(".json"), {"algo": algo, **facts})


def export(out: Path, world: World) -> Path | None:
    """Write the acting part of a run's best agent without a pickle; None if it has no such.

    It is `agent.safetensors`, or `controller.safetensors` if the agent is C.

    Args:
        world: the world in which it learned.
    """
    trained = load_trained(out / BEST, world)
    if trained.observation == FRAMES:
        return None  # a convolutional network is no `models.agent`
    facts = read_json((out / BEST).with_suffix(".json"))
    if isinstance(policy := trained.model.policy, ControllerPolicy):
        path = out / "controller.safetensors"
        shape = controller_config(world, trained.observation)
        save_controller(path, Controller(shape, policy.weights), **facts)
        return path
    try:
        agent = exported(trained.model, trained.observation)
    except ValueError:  # a recurrent one, say: its `.zip` is all there is
        return None
    path = out / "agent.safetensors"
    save_agent(path, agent, **facts)
    return path


def _resume(run: Run, earlier: int) -> dict[str, Any]:
    """Return a run's state: what it has done so far, its curve, and the statistics of returns.

    `pace` has the steps of learning that were timed, the seconds that they took without the
    validations, and the seconds of waiting among these.

    Raises:
        CheckpointError: if the record is damaged.
    """
    state = run.facts or {"steps": 0, "seconds": 0.0, "curve": []}
    check_numbers([state], run.path, ("steps", "seconds"))
    check_numbers(state.get("curve"), run.path, ("steps", "real", "real_frames", "seconds"))
    spent = state["curve"][-1]["real_frames"] if state["curve"] else earlier
    state = {"pace": dict.fromkeys(PACE, 0), "real_frames": spent} | state
    check_numbers([state], run.path, ("real_frames",))
    check_numbers([state["pace"]], run.path, PACE)
    if returns := state.get("returns"):
        names = ("mean", "var", "count")
        check_numbers([dict(zip(names, returns, strict=False))], run.path, names)
    return state


def main(
    args: Flat[Args], task: Name = "", out: str = "", processes: int = 0, device: str = "cpu"
) -> None:
    """Train an agent of Stable-Baselines3 in the dream.

    Args:
        task: The game; if left out, that of the world, or else doom.
        out: Folder of the run; if left out, runs/GAME-ALGO.
        processes: Worker processes that play real games; 0: one for each core.
        device: Where the dreams and the learning run, such as cpu or cuda.
    """
    task = game_for(task, args.world)
    args = replace(args, world=args.world or task)
    begun = Path(args.init or "none").with_suffix(".json")
    earlier = real_frames(begun) if begun.exists() else 0
    out = out or f"{RUNS}/{task}-{args.algo}"
    best = learn(args, out, Local(processes), device=device, earlier=earlier)
    print(f"the agent is {best}")
