"""Dream environments: worlds that were learned from a game, registered with Gymnasium."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gymnasium.envs.registration import register

from dreamgym.games import GAMES, Game
from dreamgym.games.own import named

__version__ = "0.1.0"
DREAM: dict[str, Any] = {
    "entry_point": "dreamgym.envs.dream:make_dream",
    "vector_entry_point": "dreamgym.envs.dream:DreamVectorEnv",
}
"""How Gymnasium makes a dream of any world."""


def add(game: Game) -> None:
    """Add a game to `GAMES` and register its three ids: `Pixel…`, `Latent…` and `Dream…`."""
    GAMES[game.name] = game
    limits: dict[str, Any] = {
        "max_episode_steps": game.max_steps,
        "reward_threshold": game.threshold,
    }
    own = {"task": game.name, "world": game.name}
    register(
        id=game.pixel_id,
        entry_point=game.real,
        vector_entry_point=game.many or None,
        **limits,
    )
    register(
        id=game.latent_id,
        entry_point="dreamgym.wrappers:make_twin",
        vector_entry_point="dreamgym.envs.twins:TwinVectorEnv",
        kwargs=dict(own),
        **limits,
    )
    register(
        id=game.dream_id,
        entry_point="dreamgym.envs.dream:DreamEnv",
        vector_entry_point="dreamgym.envs.dream:DreamVectorEnv",
        kwargs=dict(own),
        **limits,
    )


def learn(
    game: str | Callable[..., Any],
    out: str,
    real_frames: int = 50_000,
    algo: str = "ppo",
    kwargs: dict[str, Any] | None = None,
    rules: str = "",
    data: str = "",
    explore: str = "explore",
    pixels: bool = False,
) -> str:
    """Make a dream of a game of your own, as `dreamgym new` does, and return the world's folder.

    Args:
        game: the id of an environment of Gymnasium, such as `"CartPole-v1"`; of one of your own,
            `"module:Id-v0"`. Or a function that makes an environment. It must have a name in its
            module, so that another process finds it too.
        out: the folder for the world.
        real_frames: most frames of the real game to learn from.
        algo: who learns in the dream: `"ppo"`, an agent, or `"cma"`, the paper's controller C.
        kwargs: arguments with which the environment is made; each a number, a word, a list, True,
            False or None.
        rules: the game's reward and end as a class of your own, `"module:Class"`, see
            `dreamgym.games.rules.Known`; empty if M is to learn them.
        data: what you have recorded already: a folder of `dreamgym collect`, or the id of a dataset
            of Minari. Empty: the first games are played at random.
        explore: who plays these first games: `"explore"`, or `"module:function"`, a function that
            takes an observation and returns an action.
        pixels: learn from what the game draws, and not from its observations.

    Raises:
        ValueError: if there is no such environment, its spaces cannot be learned, or the rules, the
            data or the function do not fit it.
    """
    if not isinstance(game, str):
        called = getattr(game, "__qualname__", "<")
        if "<" in called:
            raise ValueError(f"game is {game!r}: give a function with a name in its module")
        game = f"{game.__module__}:{called}"
    if kwargs is not None and not isinstance(kwargs, dict):
        raise ValueError(f"kwargs is {kwargs!r}: give a dictionary, such as {{'continuous': True}}")
    if not isinstance(real_frames, int):
        raise ValueError(f"real_frames is {real_frames!r}: give a whole number, such as 50_000")
    new = import_module("dreamgym.training.new")
    new.main(
        named(game, kwargs or {}), out, real_frames, algo, rules=rules, data=data, explore=explore,
        pixels=pixels,
    )  # fmt: skip
    return out


def register_world(folder: str, id: str) -> None:
    """Register a dream of a world under an id of your own, such as `"DreamLander-v0"`.

    Args:
        folder: the world's folder, or the name of a shipped world.
        id: for `gym.make` and `gym.make_vec`.

    Raises:
        ValueError: if there is no such world.
    """
    own = {"world": str(import_module("dreamgym.checkpoint").world_folder(folder).resolve())}
    register(id=id, **DREAM, kwargs=own)


for _game in list(GAMES.values()):
    add(_game)
register(id="Dream-v0", **DREAM)
register(
    id="Latent-v0",
    entry_point="dreamgym.wrappers:make_twin",
    vector_entry_point="dreamgym.envs.twins:TwinVectorEnv",
)
