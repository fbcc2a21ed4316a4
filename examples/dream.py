"""Play at random in 64 dreams at once, then let V draw a picture of one; no game engine runs."""

import gymnasium as gym

import dreamgym  # noqa: F401  registers the environments

envs = gym.make_vec("DreamDoom-v0", num_envs=64, temperature=1.15)
observations, infos = envs.reset(seed=0)
fatal = []
for _ in range(200):
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    fatal.append(terminated.sum())
print(f"{sum(fatal)} of 64 × 200 dreamt steps were fatal; agents see {observations.shape}")

env = gym.make("DreamDoom-v0", render_mode="rgb_array")
env.reset(seed=0, options={"temperature": 0.5})
print("V's picture of the dream:", env.render().shape)
