"""A yardstick for the dream's speed: M's step as a compiler makes it of plain JAX, if JAX is there.

It has M's sizes and random weights, no game, no rules and no environment. Its noise is JAX's own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from dreamgym.models.mdn_rnn import MemoryConfig


def installed() -> bool:
    """Return whether JAX can be imported."""
    return find_spec("jax") is not None


def step(config: MemoryConfig, size: int) -> Callable[[], object]:
    """Return a step of so many dreams in JAX, called from Python, which then reads the outcome."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    cells, z_size, k = config.hidden, config.z_size, config.mixtures
    inputs = z_size + config.action_size + cells
    outputs = 3 * k * z_size + len(config.heads)

    def weight(*shape: int) -> jax.Array:
        return jnp.asarray(0.05 * rng.standard_normal(shape), jnp.float32)

    gates_weight, head_weight = weight(inputs, 4 * cells), weight(cells, outputs)
    gates_bias, head_bias = weight(4 * cells), weight(outputs)
    action = jnp.zeros((size, config.action_size))

    def advance(
        z: jax.Array, h: jax.Array, c: jax.Array, key: jax.Array
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        gates = jnp.concatenate((z, action, h), 1) @ gates_weight + gates_bias
        i, f, g, o = jnp.split(gates, 4, 1)  # (N, H) each
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        out = h @ head_weight + head_bias
        mixture = out[:, : 3 * k * z_size].reshape(size, 3, k, z_size)
        key, *keys = jax.random.split(key, 4)
        chosen = jax.random.categorical(keys[0], mixture[:, 0], axis=1)[:, None]  # (N, 1, Z)
        mean, logstd = (jnp.take_along_axis(mixture[:, part], chosen, 1)[:, 0] for part in (1, 2))
        z = mean + jnp.exp(logstd) * jax.random.normal(keys[1], mean.shape)
        odds = jax.nn.sigmoid(out[:, 3 * k * z_size :])
        return (jnp.clip(z, -50, 50), h, c, key), jax.random.uniform(keys[2], odds.shape) < odds

    compiled = jax.jit(advance, donate_argnums=(0, 1, 2, 3))
    now = [
        (*(jnp.zeros((size, n)) for n in (z_size, cells, cells)), jax.random.PRNGKey(0)),
    ]

    def work() -> None:
        now[0], outcome = compiled(*now[0])
        np.asarray(outcome)

    return work
