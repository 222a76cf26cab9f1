"""Calls made by program: speech with exact labels, and all that is not speech on a telephone line."""

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, resample_poly, sosfilt

from features import HOP, RATE

SILENCE = 1e-4


def db(value):
    return 10.0 ** (value / 20.0)


def active_level(x):
    """RMS over what is less than 20 dB below the loudest frames."""
    frames = x[: len(x) // HOP * HOP].reshape(-1, HOP)
    energy = (frames**2).mean(1)
    if not len(energy) or energy.max() < 1e-12:
        return 1e-6
    return np.sqrt(energy[energy > energy.max() * 1e-2].mean())


def speech_labels(clean):
    """Per 20 ms: within 35 dB of the loud frames in either half; gaps up to 100 ms are filled."""
    halves = clean[: len(clean) // HOP * HOP].reshape(-1, HOP // 2)
    energy = (halves**2).mean(1)
    if energy.max() < 1e-12:
        return np.zeros(len(halves) // 2, bool)
    active = energy > np.percentile(energy[energy > energy.max() * 1e-4], 95) * 10**-3.5
    ons = np.flatnonzero(active)
    for a, b in zip(ons[:-1], ons[1:]):
        if 1 < b - a <= 10:
            active[a:b] = True
    # A click of the synthesiser is no speech.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active, [0]])))
    for a, b in zip(edges[::2], edges[1::2]):
        if b - a < 4:
            active[a:b] = False
    return active.reshape(-1, 2).any(1)


# --- what is not speech ---------------------------------------------------------------------


def coloured(rng, n, slope):
    """Noise whose power falls with frequency to the given power."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    return np.fft.irfft(spectrum * f ** (-slope / 2), n)


def noise(rng, n):
    x = coloured(rng, n, rng.choice([0.0, 0.5, 1.0, 1.5, 2.0]))
    kind = rng.random()
    if kind < 0.25:
        low = rng.uniform(60, 2500)
        x = sosfilt(butter(2, [low, min(3900, low * rng.uniform(1.3, 4))], "band", fs=RATE, output="sos"), x)
    elif kind < 0.4:
        t = np.arange(n) / RATE
        hum = rng.choice([50.0, 60.0, rng.uniform(40, 300)])
        buzz = sum(np.sin(2 * np.pi * hum * k * t + rng.uniform(0, 6)) * rng.uniform(0, 1) / k for k in range(1, 12))
        x = x / x.std() * rng.uniform(0, 0.5) + buzz
    if rng.random() < 0.35:
        # Wind, traffic, shuffling: loudness that wanders.
        slow = np.interp(np.arange(n), np.linspace(0, n, 24), rng.uniform(-18, 6, 24))
        x = x * db(slow)
    return x


def clicks(rng, n):
    """Keys, knocks, breath-like bursts."""
    x = np.zeros(n)
    for _ in range(rng.integers(3, 40)):
        at, length = rng.integers(0, n), int(RATE * rng.choice([0.004, 0.015, 0.05, 0.15, 0.35]))
        burst = noise_burst(rng, length)
        x[at : at + length] += burst[: n - at] * db(rng.uniform(-12, 0))
    return x


def noise_burst(rng, length):
    low = rng.uniform(80, 2000)
    burst = lfilter(*butter(1, [low, min(3900, low * rng.uniform(1.5, 6))], "band", fs=RATE), rng.standard_normal(length))
    shape = np.exp(-np.arange(length) / length * 5) if rng.random() < 0.6 else np.hanning(length)
    return burst * shape / (np.abs(burst).max() + 1e-9)


TONES = {
    "ringback": [([450], 1.0, 4.0), ([440, 480], 2.0, 4.0), ([425], 1.0, 4.0), ([400, 450], 0.4, 0.2)],
    "busy": [([450], 0.35, 0.35), ([480, 620], 0.5, 0.5), ([425], 0.5, 0.5), ([450], 0.7, 0.7)],
    "dial": [([450], 9.0, 0.0), ([350, 440], 9.0, 0.0), ([425], 9.0, 0.0)],
}
ROWS, COLUMNS = [697, 770, 852, 941], [1209, 1336, 1477, 1633]


def tones(rng, n):
    x, t = np.zeros(n), np.arange(n) / RATE
    kind = rng.choice(["ringback", "busy", "dial", "dtmf", "beep", "sweep", "fax"])
    if kind in TONES:
        freqs, on, off = TONES[kind][rng.integers(len(TONES[kind]))]
        gate = ((t + rng.uniform(0, on + off)) % (on + off)) < on
        return gate * sum(np.sin(2 * np.pi * f * rng.uniform(0.99, 1.01) * t) for f in freqs)
    if kind == "fax":
        return (t % 3.5 < 0.5) * np.sin(2 * np.pi * 1100 * t)
    at = rng.uniform(0, 0.5)
    while at < n / RATE:
        length, gap = rng.uniform(0.05, 0.6), rng.uniform(0.05, 1.5)
        part = (t >= at) & (t < at + length)
        if kind == "dtmf":
            pair = rng.choice(ROWS), rng.choice(COLUMNS)
            x[part] += sum(np.sin(2 * np.pi * f * t[part]) for f in pair)
        elif kind == "beep":
            x[part] += np.sin(2 * np.pi * rng.choice([440, 800, 1000, 1400, 2000, rng.uniform(300, 3000)]) * t[part])
        else:
            f0, f1 = rng.uniform(300, 3000, 2)
            u = t[part] - at
            x[part] += np.sin(2 * np.pi * (f0 * u + (f1 - f0) * u * u / (2 * length)))
        at += length + gap
    return x


def note(rng, freq, length, timbre):
    t = np.arange(length) / RATE
    vibrato = 0.003 * rng.random() * np.sin(2 * np.pi * rng.uniform(4, 7) * t) if rng.random() < 0.5 else 0.0
    x = np.zeros(length)
    for k, strength in enumerate(timbre["harmonics"], 1):
        if freq * k < 3900:
            x += strength * np.sin(2 * np.pi * freq * k * t * (1 + vibrato) + rng.uniform(0, 6))
    attack = min(length, max(8, int(RATE * timbre["attack"])))
    shape = np.exp(-t * timbre["decay"])
    shape[:attack] *= np.linspace(0, 1, attack)
    release = min(length, 200)
    shape[-release:] *= np.linspace(1, 0, release)
    return x * shape


def harmonics(rng):
    """Of organs and other oddities; of strings, reeds and plucked strings, which fall off evenly."""
    strengths = rng.random(rng.integers(1, 14))
    if rng.random() < 0.5:
        strengths = 0.5 + 0.5 * strengths
        strengths /= np.arange(1, len(strengths) + 1) ** rng.uniform(0.5, 2)
    return strengths


def music(rng, n):
    """Chords, a tune, a bass and drums on some of the world's scales."""
    x = np.zeros(n)
    scale = [[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10], [0, 2, 4, 7, 9], [0, 3, 5, 7, 10]][rng.integers(4)]
    root, beat = rng.uniform(48, 60), RATE * 60 / rng.uniform(60, 150)
    pitch = lambda step: 440 * 2 ** ((root + scale[step % len(scale)] + 12 * (step // len(scale)) - 69) / 12)
    timbre = lambda: {
        "harmonics": harmonics(rng),
        "attack": rng.choice([0.002, 0.01, 0.08, 0.3]),
        "decay": rng.choice([0.0, 0.2, 1.0, 3.0, 8.0]),
    }
    voices = []
    if rng.random() < 0.8:
        voices.append((timbre(), 4.0, [0, 2, 4], 0))
    if rng.random() < 0.85:
        voices.append((timbre(), rng.choice([0.5, 1.0, 2.0]), [0], rng.choice([5, 7, 10])))
    if rng.random() < 0.6 or not voices:
        voices.append((timbre(), 1.0, [0], -len(scale)))
    for sound, beats, chord, offset in voices:
        loud, at, step = db(rng.uniform(-14, 0)), 0, 0
        while at < n:
            length = int(beat * beats * rng.choice([1, 1, 1, 2]))
            step += rng.integers(-3, 4)
            step = int(np.clip(step, -4, 9))
            if rng.random() < 0.9:
                for c in chord:
                    end = min(n, at + length)
                    x[at:end] += note(rng, pitch(step + c + offset), length, sound)[: end - at] * loud
            at += length
    if rng.random() < 0.5:
        for k in range(int(n / beat * 2)):
            at, length = int(k * beat / 2), int(RATE * rng.choice([0.05, 0.12]))
            if rng.random() < 0.7 and at + length < n:
                x[at : at + length] += noise_burst(rng, length) * db(rng.uniform(-20, 0))
    return x / (np.abs(x).max() + 1e-9)


def babble(rng, n, voices, talkers):
    x = np.zeros(n)
    for _ in range(talkers):
        at = -int(rng.integers(0, 2 * RATE))
        while at < n:
            voice = voices[rng.integers(len(voices))]
            voice = voice / active_level(voice) * db(rng.uniform(-4, 2))
            a, b = max(at, 0), min(n, at + len(voice))
            if b > a:
                x[a:b] += voice[a - at : b - at]
            at += len(voice) + int(rng.integers(0, RATE // 2))
    return room(rng, x) if rng.random() < 0.6 else x


def room(rng, x):
    length = int(RATE * rng.uniform(0.1, 0.5))
    tail = rng.standard_normal(length) * np.exp(-np.arange(length) / length * 6.9) * rng.uniform(0.02, 0.15)
    tail[0] = 1.0
    return fftconvolve(x, tail)[: len(x)]


# --- the line -------------------------------------------------------------------------------


def mu_law(x):
    """Through ITU-T G.711 µ-law and back; 16-bit integers."""
    s = np.clip(np.round(x), -32635, 32635)
    magnitude = np.abs(s) + 132
    exponent = np.maximum(np.floor(np.log2(magnitude)).astype(int) - 7, 0)
    step = 2.0 ** (exponent + 3)
    quantised = (np.floor(magnitude / step) + 0.5) * step - 132
    return (np.sign(s + 0.5) * quantised).astype(np.int16)


def a_law(x):
    """Through ITU-T G.711 A-law and back; 16-bit integers."""
    s = np.clip(np.round(x), -32767, 32767)
    magnitude = np.abs(s + 0.5)
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(int) - 7, 1)
    step = 2.0 ** (exponent + 3)
    quantised = (np.floor(magnitude / step) + 0.5) * step
    return (np.sign(s + 0.5) * np.minimum(quantised, 32256)).astype(np.int16)


def colour(rng, x):
    """What handsets, rooms and networks do to a voice."""
    if rng.random() < 0.6:
        up, down = rng.integers(86, 116), 100
        x = resample_poly(x, up, down)
    if rng.random() < 0.3:
        x = room(rng, x)
    if rng.random() < 0.6:
        x = sosfilt(butter(rng.integers(1, 4), [rng.uniform(80, 350), rng.uniform(2600, 3800)], "band", fs=RATE, output="sos"), x)
    if rng.random() < 0.5:
        tilt = rng.uniform(-0.6, 0.6)
        x = lfilter([1.0, -tilt], [1.0], x)
    return x


def call(rng, seconds, voices, babblers):
    """One leg: 16-bit samples after G.711, and a label per 20 ms."""
    n = int(seconds * RATE)
    level = rng.uniform(-46, -10)
    speech, labels = np.zeros(n), np.zeros(n // HOP, bool)
    if rng.random() < 0.8:
        # Some never pause: a voice must not pass for the background because it goes on and on. Others
        # pause now and then: what was heard in the pause must not be heard in the voice.
        haste = rng.choice([0.0, 0.6, 1.0], p=[0.3, 0.3, 0.4])
        at = int(RATE * rng.uniform(0, 0.3 if haste == 1.0 else 3))
        speaker = voices[rng.integers(len(voices))]
        while at < n - RATE // 2:
            voice = speaker[rng.integers(len(speaker))]
            voice = colour(rng, voice)
            voice = voice / active_level(voice) * db(level + rng.uniform(-4, 4))
            voice = voice[: n - at]
            start = at // HOP * HOP
            mine = speech_labels(np.concatenate([np.zeros(at - start), voice]))
            labels[start // HOP : start // HOP + len(mine)] |= mine[: len(labels) - start // HOP]
            speech[at : at + len(voice)] += voice
            at += len(voice)
            if rng.random() < haste:
                at -= int(RATE * rng.uniform(0, 0.25))
            else:
                at += int(RATE * (rng.uniform(0.05, 0.6) if rng.random() < 0.5 else rng.uniform(0.5, 4)))
    x = speech.copy()
    add = lambda sound, dbfs: x + sound / (active_level(sound) + 1e-9) * db(dbfs)
    # Half of the calls have one kind of disturbance at most: noise, babble, or music between the words.
    alone = rng.choice(["noise", "babble", "music", ""], p=[0.15, 0.1, 0.25, 0.5])
    if alone:
        return simple(rng, x, labels, level, alone, babblers), labels
    if rng.random() < 0.75:
        x = add(noise(rng, n), min(-20, level - rng.uniform(3, 40)))
    if rng.random() < 0.4:
        x = add(babble(rng, n, babblers, rng.integers(4, 14)), level - rng.uniform(3, 25))
    if rng.random() < 0.25:
        x = add(clicks(rng, n), level - rng.uniform(-4, 25))
    silent = between(labels, n)
    if rng.random() < 0.35:
        tone = tones(rng, n)
        # Mostly between the words; sometimes across them.
        x = add(tone * (silent if rng.random() < 0.8 else 1.0), rng.uniform(-42, -6))
    if rng.random() < 0.4:
        tune = music(rng, n)
        alone = rng.random() < 0.5
        x = add(tune * (fade(silent) if alone else 1.0), rng.uniform(-45, -8) if alone else level - rng.uniform(3, 25))
    if rng.random() < 0.5:
        x = x + rng.standard_normal(n) * db(rng.uniform(-90, -60))
    return companded(rng, x), labels


def simple(rng, speech, labels, level, kind, babblers):
    """A call on which nothing is heard but noise or babble all the time, or music while nobody speaks."""
    n = len(speech)
    if kind == "noise":
        sound = coloured(rng, n, rng.choice([0.0, 0.0, 1.0, 2.0]))
        loudness = level - rng.uniform(2, 25)
    elif kind == "babble":
        sound = babble(rng, n, babblers, rng.integers(5, 14))
        loudness = level - rng.uniform(2, 25)
    else:
        sound = music(rng, n) * between(labels, n)
        loudness = rng.uniform(-45, -8)
    return companded(rng, speech + sound / (active_level(sound) + 1e-9) * db(loudness))


def between(labels, n):
    """Where there is no speech, per sample."""
    silent = np.repeat(~labels, HOP)
    return np.concatenate([silent, np.ones(n - len(silent), bool)])


def companded(rng, x):
    law = mu_law if rng.random() < 0.5 else a_law
    return law(np.clip(x, -1, 1) * 32767)


def fade(mask):
    return np.convolve(mask.astype(float), np.ones(400) / 400, "same") * mask
