"""What a user has recorded already: episodes of `dreamgym collect`, or a dataset of Minari."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from gymnasium.vector.utils import batch_space, iterate

from dreamgym import games
from dreamgym.envs.vectors import Vectors
from dreamgym.games import Game

from .data.episodes import MANIFEST, Episode, content, dataset, episode_path, frames_of
from .runs import OTHER, Run, read

T = TypeVar("T")
MOST = 200_000
"""Frames that are taken of what was recorded, if the budget is no larger. Our choice: `dreamgym
new` makes 5,000 steps of M and 800,000 of PPO of so many, in each round."""
LEAST = 2
"""Fewest episodes from which M can learn: one of them is held out."""


@dataclass(frozen=True)
class Args:
    """What is taken, and of which game it must be."""

    task: str = ""
    """The game."""
    data: str = ""
    """A folder that `dreamgym collect` wrote, or else the id of a dataset of Minari."""
    frames: int = MOST
    """Most frames that are taken: whole episodes from the first one on, but at least `LEAST`."""


class Found(NamedTuple):
    """Recorded episodes that are to be taken."""

    episodes: Iterable[Episode]
    mark: str
    """A fingerprint of their content."""
    total: int
    """The frames of all that was recorded there."""


def take(args: Args, out: str | Path) -> int:
    """Write what was recorded to `out`, as `collect` writes what it plays; return its frames.

    What is there already is not written again.

    Raises:
        ValueError: if nothing is recorded, it is of another game or of one with other spaces, it
            has fewer than `LEAST` episodes, or `out` was begun with other data.
    """
    game, out = games.get(args.task), Path(out)
    found = collected(args, game) if Path(args.data).exists() else of_minari(args, game)
    inputs = {"data": found.mark, "environment": game.own.mark}
    begun = (out / MANIFEST).exists()
    with Run(out, MANIFEST.removesuffix(".json"), args, inputs) as run:
        if not begun and any(out.glob("episode-*.npz")):
            raise ValueError(f"{out} holds episodes, but no {MANIFEST}: {OTHER}")
        if "lengths" not in run.facts:
            run.write()
            lengths = []
            for number, episode in enumerate(found.episodes):
                episode.save(episode_path(out, number))
                lengths.append(len(episode))
            run.write(finished=True, lengths=lengths)
        lengths = run.facts["lengths"]
    taken = sum(lengths)
    rest = f", the first of {found.total:,}: more --frames take more" * (taken < found.total)
    print(f"{args.data}: {taken:,} frames of {len(lengths):,} games instead of random play{rest}")
    return taken


def collected(args: Args, game: Game) -> Found:
    """Find the episodes in a folder that `dreamgym collect` wrote.

    Raises:
        ValueError: if they are of another game, or of this one with other spaces.
    """
    paths = dataset([args.data], game.name)
    made = read(Path(args.data) / MANIFEST)["inputs"].get("environment", game.own.mark)
    if made != game.own.mark:
        raise ValueError(f"{args.data} was recorded in {made}, the game is {game.own.mark} now")
    first = _first(paths, frames_of, args)
    for path in first:
        episode = Episode.load(path)
        shapes = episode.frames.shape[1:], episode.actions.shape[1:]
        if shapes != (game.frame, (len(game.low),)):
            raise ValueError(f"{path} has frames and actions of {shapes}, not those of {game.name}")
    return Found(map(Episode.load, first), content(first), sum(map(frames_of, paths)))


def of_minari(args: Args, game: Game) -> Found:
    """Find the episodes of a dataset of Minari that is installed on this machine.

    Raises:
        ValueError: if Minari or the dataset is not installed, or the dataset's environment has
            other spaces than the game.
    """
    if game.pictures:
        raise ValueError(f"{game.name} shows pictures: of Minari, only vectors can be taken")
    lacks = f"data is {args.data}: there is no such folder, and"
    try:
        import minari

        there = minari.load_dataset(args.data)
    except ImportError as error:
        raise ValueError(
            f"{lacks} a dataset of Minari needs `pip install 'minari[hdf5]'` ({error})"
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{lacks} no such dataset of Minari; if it is a public one, call "
            f"`minari download {args.data}` ({error})"
        ) from error
    env = Vectors(game.name)
    for name in ("observation_space", "action_space"):
        theirs, ours = getattr(there, name), getattr(env.env, name)
        if theirs != ours:
            env.close()
            raise ValueError(
                f"{args.data} was recorded in another game than {game.name}: its {name} is "
                f"{theirs}, that of {game.name} is {ours}"
            )
    played = (each for each in there.iterate_episodes() if len(each))
    episodes = [
        converted(each, env, args.data) for each in _first(played, lambda each: len(each) + 1, args)
    ]
    env.close()
    mark = hashlib.sha256()
    for episode in episodes:
        for array in vars(episode).values():
            mark.update(array.tobytes())
    total = there.total_steps + there.total_episodes
    return Found(episodes, mark.hexdigest()[:16], total)


def converted(played: Any, env: Vectors, data: str) -> Episode:
    """Return an episode of Minari as one of ours.

    Args:
        played: Minari's `EpisodeData` of T steps, 1 or more.
        env: the game in which it was played.
        data: the dataset, for the message.

    Raises:
        ValueError: if it holds what the game does not show, pay or take.
    """
    steps = len(played)
    seen = iterate(batch_space(env.env.observation_space, steps + 1), played.observations)
    try:
        frames, actions = env.recorded(seen, played.actions, played.rewards)
    except ValueError as error:
        raise ValueError(f"{data}, episode {played.id}: {error}") from error
    over = np.arange(steps + 1) >= steps - 1  # the last step, and the last frame after it
    return Episode(
        frames=frames,
        actions=np.append(actions, np.zeros_like(actions[:1]), axis=0),
        rewards=np.append(played.rewards, 0).astype(np.float32),
        counts=np.zeros((steps + 2, len(env.game.rules.counts)), np.float32),
        terminated=over & bool(played.terminations[-1]),
        truncated=over & (not played.terminations[-1]),
    )


def _first(episodes: Iterable[T], length: Callable[[T], int], args: Args) -> list[T]:
    """Return as many episodes as `Args.frames` allows.

    Args:
        length: takes an episode and returns its frames.

    Raises:
        ValueError: if there are fewer than `LEAST` episodes.
    """
    first: list[T] = []
    frames = 0
    for episode in episodes:
        frames += length(episode)
        if frames > args.frames and len(first) >= LEAST:
            break
        first.append(episode)
    if len(first) < LEAST:
        raise ValueError(f"{args.data} holds {len(first)} episodes: M needs {LEAST} or more")
    return first
