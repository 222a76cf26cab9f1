"""Makes a training set: python make_set.py SEED CLIPS SECONDS OUT.npz SPEECH_DIR...

A speech directory holds one file per sentence, VOICE-*.npy, 16-bit at 8 kHz, synthesised clean.
"""

import glob
import os
import sys

import numpy as np

from conditions import call
from features import features

# Kept out of the training set: the voices of the recordings that the evaluation runs on.
HELD_OUT = {"zf_xiaoxiao", "zf_xiaoyi", "zm_yunxia", "zm_yunjian"}


def main(seed, clips, seconds, out, *folders):
    speakers = {}
    for path in sorted(p for folder in folders for p in glob.glob(f"{folder}/*.npy")):
        name = os.path.basename(path).split("-")[0]
        if name not in HELD_OUT:
            speakers.setdefault(name, []).append(np.load(path) / 32768.0)
    voices = list(speakers.values())
    sentences = [sentence for voice in voices for sentence in voice]
    rng = np.random.default_rng(int(seed))
    inputs, labels = [], []
    for _ in range(int(clips)):
        pcm, label = call(rng, int(seconds), voices, sentences)
        inputs.append(features(pcm).astype(np.float16))
        labels.append(label)
    np.savez(out, inputs=np.stack(inputs), labels=np.stack(labels))


main(*sys.argv[1:])
