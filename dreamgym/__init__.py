"""Dream environments: worlds that were learned from a game, registered with Gymnasium."""

from typing import Any

from gymnasium.envs.registration import register

from dreamgym.games import GAMES, Game

__version__ = "0.1.0"


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


for _game in list(GAMES.values()):
    add(_game)
