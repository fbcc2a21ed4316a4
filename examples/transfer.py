"""Play one game with the shipped controller in the dream and one in the real game."""

import gymnasium as gym
import torch

import dreamgym  # noqa: F401  registers the environments
from dreamgym.checkpoint import SHIPPED, load_controller

controller = load_controller(SHIPPED / "doom")
for name in ("DreamDoom-v0", "LatentDoom-v0"):
    env = gym.make(name, continuous=True)
    observation, _ = env.reset(seed=2_000_000)
    steps, over = 0, False
    while not over:
        action = controller.act(torch.from_numpy(observation)[None])[0].numpy()
        observation, reward, terminated, truncated, _ = env.step(action)
        steps, over = steps + 1, terminated or truncated
    print(f"{name}: survived {steps} steps")
    env.close()
