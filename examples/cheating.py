"""See a controller cheat: it lives on in a dream that is too certain, and dies in the real game.

It evolved in dreams of the temperature 0.1, see `dreamgym experiment`. There M hardly ever draws a
fireball, so that almost nothing can hit. The controller has not learned to dodge.
"""

from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

import dreamgym  # noqa: F401  registers the environments
from dreamgym.checkpoint import load_controller
from dreamgym.training.measure.film import film

CHEATER = Path("/work/main/dreamgym/worlds/doom/controller.safetensors")
GAMES, LOOK = 5, 10  # the games of each kind, and the steps from one look at a picture to the next
FIRE = 150  # in the game only fireballs have pixels with so much green

controller = load_controller(CHEATER)
for name, options in {"DreamDoom-v0": {"temperature": 0.1}, "LatentDoom-v0": {}}.items():
    env = gym.make(name, continuous=True, render_mode="rgb_array", **options)
    steps = hits = 0
    fires = []
    for seed in range(GAMES):
        observation, info = env.reset(seed=seed)
        over = False
        while not over:
            action = controller.act(torch.from_numpy(observation)[None])[0].numpy()
            health = info["health"]
            observation, _, terminated, truncated, info = env.step(action)
            steps, hits = steps + 1, hits + (info["health"] < health)
            over = terminated or truncated
            if steps % LOOK == 0:
                fires.append((np.asarray(env.render())[..., 1] > FIRE).any())
    env.close()
    print(
        f"{name}: {steps / GAMES:.0f} steps a game, {1000 * hits / steps:.1f} hits in 1,000 steps, "
        f"a fireball in {np.mean(fires):.0%} of the pictures"
    )
print("left the dream, right the real game:",
      film("doom", CHEATER, "cheating.gif", 2100, skip=10, temperature=0.1))  # fmt: skip
