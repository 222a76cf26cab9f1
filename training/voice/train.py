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
BATCH, STEPS = 64, 500


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


def main(out, epochs, *sets):
    loaded = [np.load(path) for path in sets]
    x = np.concatenate([s["inputs"] for s in loaded])
    y = np.concatenate([s["labels"] for s in loaded])
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    held = max(BATCH, len(x) // 20)
    test_x, test_y, x, y = x[:held].astype(np.float32), y[:held], x[held:], y[held:]
    total = int(epochs) * (len(x) // BATCH)
    schedule = optax.cosine_onecycle_schedule(total, 3e-3)
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
        values = []
        for batch in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            batch = batch[:BATCH]
            w, state, value = update(w, state, x[batch].astype(np.float32), y[batch].astype(np.float32))
            values.append(float(value))
        said = np.asarray(judge(w, test_x)) > 0
        miss, false = 1 - said[test_y].mean(), said[~test_y].mean()
        print(f"{epoch} loss {np.mean(values):.4f} error {(said != test_y).mean():.4f} miss {miss:.4f} false {false:.4f}", flush=True)
        np.savez(out, **{name: np.asarray(value) for name, value in w.items()})


main(*sys.argv[1:])
