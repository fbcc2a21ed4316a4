"""Dream environments: worlds that were learned from a game, registered with Gymnasium."""

from typing import Any

from gymnasium.envs.registration import register

from dreamgym.tasks import TASKS

__version__ = "0.1.0"

for _task in TASKS.values():
    _limits: dict[str, Any] = {
        "max_episode_steps": _task.max_steps,
        "reward_threshold": _task.threshold,
    }
    register(id=_task.pixel_id, entry_point=_task.real, **_limits)
    register(
        id=_task.latent_id,
        entry_point="dreamgym.wrappers:make_twin",
        kwargs={"task": _task.name, "world": _task.name},
        **_limits,
    )
    register(
        id=_task.dream_id,
        entry_point="dreamgym.envs.dream:DreamEnv",
        vector_entry_point="dreamgym.envs.dream:DreamVectorEnv",
        kwargs={"task": _task.name, "world": _task.name},
        **_limits,
    )
