"""See a controller cheat: it lives on in a dream that is too certain, and dies in the real game."""

from pathlib import Path

import gymnasium as gym
import torch

import dreamgym  # noqa: F401  registers the environments
from dreamgym.checkpoint import load_controller
from dreamgym.training.measure.film import film

cheater = Path(__file__).with_name("cheater.safetensors")  # evolved in dreams of this temperature
controller, certain = load_controller(cheater), {"temperature": 0.1}
for name, options in {"DreamDoom-v0": certain, "LatentDoom-v0": {}}.items():
    env = gym.make(name, continuous=True, render_mode="rgb_array", **options)
    observation, info = env.reset(seed=0)
    steps, hits, fires, over = 0, 0, [], False
    while not over:
        action = controller.act(torch.from_numpy(observation)[None])[0].numpy()
        before = info["health"]
        observation, _, terminated, truncated, info = env.step(action)
        steps, hits, over = steps + 1, hits + (info["health"] < before), terminated or truncated
        if steps % 10 == 0:
            fires.append((env.render()[..., 1] > 150).any())  # only fireballs are so green
    print(f"{name}: {steps} steps, {hits} hits, fireballs in {sum(fires)} of {len(fires)} pictures")
    env.close()
print("see", film("doom", cheater, "cheating.gif", steps=600, temperature=0.1))
