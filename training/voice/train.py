"""Trains the network: python train.py OUT.npz EPOCHS SET.npz...; goes on from OUT.npz if it exists.

One layer of 32 rectified sums, one gated recurrent layer, one logistic output, all per 20 ms frame.
"""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from features import INPUTS

DENSE, UNITS = 32, 40
BATCH_FRAMES = 32_000
PEAK_RATE = 3e-3


def initial(key):
    k = jax.random.split(key, 4)
    scaled = lambda key, rows, columns: jax.random.normal(key, (rows, columns)) / np.sqrt(columns)
    return {
        "dense": scaled(k[0], DENSE, INPUTS), "dense_bias": jnp.zeros(DENSE),
        "input": scaled(k[1], 3 * UNITS, DENSE), "input_bias": jnp.zeros(3 * UNITS),
        "hidden": scaled(k[2], 3 * UNITS, UNITS), "hidden_bias": jnp.zeros(UNITS),
        "out": scaled(k[3], 1, UNITS)[0], "out_bias": jnp.zeros(()),
    }


def forward(w, x):
    """(batch, frames, INPUTS) to logits (batch, frames)."""
    dense = jax.nn.relu(x @ w["dense"].T + w["dense_bias"])
    given = dense @ w["input"].T + w["input_bias"]

    def step(state, given):
        own = state @ w["hidden"].T
        reset, update = jnp.split(jax.nn.sigmoid(given[:, : 2 * UNITS] + own[:, : 2 * UNITS]), 2, -1)
        new = jnp.tanh(given[:, 2 * UNITS :] + reset * (own[:, 2 * UNITS :] + w["hidden_bias"]))
        state = update * state + (1 - update) * new
        return state, state @ w["out"] + w["out_bias"]

    state = jnp.zeros((x.shape[0], UNITS))
    _, logits = jax.lax.scan(step, state, given.swapaxes(0, 1))
    return logits.swapaxes(0, 1)


def loss(w, x, labels):
    return optax.sigmoid_binary_cross_entropy(forward(w, x), labels).mean()


def main(out, epochs, *paths):
    rng = np.random.default_rng(0)
    sets = [Set(path, rng) for path in paths]
    count = sum(len(s.inputs) // s.batch for s in sets)
    schedule = optax.cosine_onecycle_schedule(int(epochs) * count, PEAK_RATE)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))
    w = initial(jax.random.key(0))
    if os.path.exists(out):
        w = {name: jnp.asarray(value) for name, value in np.load(out).items()}
    state = optimiser.init(w)

    @jax.jit
    def update(w, state, x, y):
        value, gradient = jax.value_and_grad(loss)(w, x, y)
        change, state = optimiser.update(gradient, state, w)
        return optax.apply_updates(w, change), state, value

    judge = jax.jit(forward)
    for epoch in range(int(epochs)):
        batches = [(s, batch) for s in sets for batch in s.batches(rng)]
        values = []
        for at in rng.permutation(len(batches)):
            s, batch = batches[at]
            x, y = s.inputs[batch].astype(np.float32), s.labels[batch].astype(np.float32)
            w, state, value = update(w, state, x, y)
            values.append(float(value))
        np.savez(out, **{name: np.asarray(value) for name, value in w.items()})
        said = np.concatenate([np.ravel(judge(w, s.test_inputs) > 0) for s in sets])
        true = np.concatenate([np.ravel(s.test_labels) for s in sets])
        miss, false = 1 - said[true].mean(), said[~true].mean()
        print(f"{epoch} loss {np.mean(values):.4f} miss {miss:.4f} false {false:.4f}", flush=True)


class Set:
    """Clips of one length; every twentieth is kept for the test."""

    def __init__(self, path, rng):
        loaded = np.load(path)
        order = rng.permutation(len(loaded["labels"]))
        inputs, labels = loaded["inputs"][order], loaded["labels"][order]
        held = max(1, len(order) // 20)
        self.test_inputs, self.test_labels = inputs[:held].astype(np.float32), labels[:held]
        self.inputs, self.labels = inputs[held:], labels[held:]
        self.batch = max(1, BATCH_FRAMES // inputs.shape[1])

    def batches(self, rng):
        order = rng.permutation(len(self.inputs))
        count = len(order) // self.batch
        return order[: count * self.batch].reshape(count, self.batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
