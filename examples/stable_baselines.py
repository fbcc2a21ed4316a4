"""Stable-Baselines3's PPO learns Doom in a batch of dreams, then plays the real game."""

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

import dreamgym  # noqa: F401  registers the environments
from dreamgym.sb3 import DreamVecEnv, scaled

dreams = VecMonitor(DreamVecEnv("DreamDoom-v0", num_envs=64, temperature=(1.0, 1.2)))
sight = scaled("DreamDoom-v0")  # divides each number of an observation by its standard deviation
model = PPO("MlpPolicy", dreams, n_steps=64, batch_size=512, policy_kwargs=sight, seed=0)
model.learn(20_000)  # a short trial; `dreamgym train doom` takes up to 3 million steps
real = Monitor(gym.make("LatentDoom-v0"))
mean, deviation = evaluate_policy(model, real, n_eval_episodes=3)
print(f"the real game: {mean:.0f} ± {deviation:.0f} steps")
real.close()
