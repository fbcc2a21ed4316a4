"""Dream environments: worlds that were learned from a game, registered with Gymnasium."""

from gymnasium.envs.registration import register

from dreamgym.tasks import TASKS

__version__ = "0.1.0"

for _task in TASKS.values():
    register(id=_task.pixel_id, entry_point=_task.real, reward_threshold=_task.threshold)
