"""Writes the weights as src/speech/voice/network.rs reads them: python export.py W.npz OUT.f32

Little-endian 32-bit floats. Each matrix is laid out by input, so that an input's weights lie together.
`python export.py --back IN.f32 W.npz` turns such a file into one that train.py goes on from;
`python export.py --mix A.f32 B.f32 SHARE OUT.f32` is the mean of two, so much of it the second.
"""

import sys

import numpy as np

from features import INPUTS
from train import DENSE, UNITS

# A lost frame of speech weighs twice a false one: the daemon decides at even odds, which are raised by as much.
LEAN = 0.7


def layout():
    """Name, the part of it, and its shape by input, in the order of the file."""
    # The gates reset and update together, then the new state.
    gates, new = slice(2 * UNITS), slice(2 * UNITS, 3 * UNITS)
    yield "dense_bias", slice(DENSE), (DENSE,)
    yield "dense", slice(DENSE), (INPUTS, DENSE)
    for part in gates, new:
        sums = part.stop - (part.start or 0)
        yield "input_bias", part, (sums,)
        yield "input", part, (DENSE, sums)
        yield "hidden", part, (UNITS, sums)
    yield "hidden_bias", slice(UNITS), (UNITS,)
    yield "out", slice(UNITS), (UNITS,)
    yield "out_bias", slice(1), (1,)


def export(trained, out):
    w = dict(np.load(trained))
    w["out_bias"] = w["out_bias"] + LEAN
    parts = [np.atleast_1d(w[name])[part].T for name, part, _ in layout()]
    np.concatenate([np.ravel(part) for part in parts]).astype("<f4").tofile(out)


def back(weights, out):
    numbers, w = np.fromfile(weights, "<f4"), {}
    for name, _, shape in layout():
        count = int(np.prod(shape))
        w.setdefault(name, []).append(numbers[:count].reshape(shape).T)
        numbers = numbers[count:]
    assert not len(numbers), "the weights are of another network"
    w = {name: np.concatenate(parts) for name, parts in w.items()}
    np.savez(out, **{**w, "out_bias": w["out_bias"][0] - LEAN})


def mix(first, second, share, out):
    first, second = np.fromfile(first, "<f4"), np.fromfile(second, "<f4")
    (first + float(share) * (second - first)).astype("<f4").tofile(out)


if __name__ == "__main__":
    if sys.argv[1] == "--back":
        back(*sys.argv[2:])
    elif sys.argv[1] == "--mix":
        mix(*sys.argv[2:])
    else:
        export(*sys.argv[1:])
