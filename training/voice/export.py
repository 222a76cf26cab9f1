"""Writes the weights as src/speech/voice/network.rs reads them: python export.py W.npz OUT.f32

Little-endian 32-bit floats. Each matrix is laid out by input, so that an input's weights lie together.
"""

import sys

import numpy as np


def main(trained, out):
    w = np.load(trained)
    order = [w["dense_bias"], w["dense"].T]
    units = len(w["hidden_bias"])
    # The gates reset and update together, then the new state.
    for part in slice(2 * units), slice(2 * units, None):
        order += [w["input_bias"][part], w["input"][part].T, w["hidden"][part].T]
    order += [w["hidden_bias"], w["out"], w["out_bias"][None]]
    np.concatenate([np.ravel(part) for part in order]).astype("<f4").tofile(out)


main(*sys.argv[1:])
