"""Dream environments: worlds that were learned from a game, registered with Gymnasium."""

from typing import Any

from gymnasium.envs.registration import register

from dreamgym.games import GAMES

__version__ = "0.1.0"

for _game in GAMES.values():
    _limits: dict[str, Any] = {
        "max_episode_steps": _game.max_steps,
        "reward_threshold": _game.threshold,
    }
    register(id=_game.pixel_id, entry_point=_game.real, **_limits)
    register(
        id=_game.latent_id,
        entry_point="dreamgym.wrappers:make_twin",
        kwargs={"task": _game.name, "world": _game.name},
        **_limits,
    )
    register(
        id=_game.dream_id,
        entry_point="dreamgym.envs.dream:DreamEnv",
        vector_entry_point="dreamgym.envs.dream:DreamVectorEnv",
        kwargs={"task": _game.name, "world": _game.name},
        **_limits,
    )
