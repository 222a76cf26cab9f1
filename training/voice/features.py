"""What the network hears of 20 ms: the same numbers as src/speech/voice/features.rs."""

import numpy as np

RATE = 8000
HOP = 160
WINDOW = 256
BANDS = 24
INPUTS = BANDS + 5
EPSILON = 1e-5
# Natural-log units per frame: the peak falls 3 dB and the floor rises 1.5 dB a second.
PEAK_FALL = 3.0 / 4.343 / 50
FLOOR_RISE = 1.5 / 4.343 / 50
LAGS = slice(20, 128)
# Bins below 2 kHz, where voices and notes have their partials.
PARTIALS = 64


def band_weights():
    """Triangles, equally spaced on the mel scale from 80 to 3,920 Hz, over the 129 bins."""
    mel = lambda hz: 2595.0 * np.log10(1.0 + hz / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(mel(80.0), mel(3920.0), BANDS + 2) / 2595.0) - 1.0)
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


WEIGHTS = band_weights()
HANN = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)


def features(pcm):
    """16-bit samples to (frames, INPUTS); each frame sees its 160 samples and the 96 before."""
    x = np.concatenate([np.zeros(WINDOW - HOP), pcm.astype(np.float64) / 32768.0])
    count = len(pcm) // HOP
    frames = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP][:count]
    spectrum = np.fft.rfft(frames * HANN)
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.log(power @ WEIGHTS.T + EPSILON)
    level = np.log(power.sum(1) + 10 * EPSILON)
    # Square roots flatten the spectrum, so that the period stands out from the formants.
    correlation = np.fft.irfft(np.sqrt(power))
    period = correlation[:, LAGS].max(1) / (correlation[:, 0] + 1e-3)
    new = novelty(np.sqrt(power[:, :PARTIALS]))
    peak, floor = trackers(level)
    scaled = (np.concatenate([bands, np.stack([level, peak, floor], 1)], 1) + 4.0) * 0.25
    last = np.stack([period * 2.0 - 1.0, new * 4.0 - 1.0], 1)
    return np.concatenate([scaled, last], 1).astype(np.float32)


def novelty(magnitudes):
    """How unlike a frame is to the ones before: a note stays where it is, a voice glides."""
    usual, result = np.zeros(PARTIALS), np.empty(len(magnitudes))
    for i, now in enumerate(magnitudes):
        result[i] = np.abs(now - usual).sum() / (now.sum() + usual.sum() + 1e-2)
        usual += 0.5 * (now - usual)
    return result


def trackers(level):
    peaks, floors = np.empty_like(level), np.empty_like(level)
    peak, floor = -4.0, -4.0
    for i, now in enumerate(level):
        peak = max(now, peak - PEAK_FALL)
        floor = min(now, floor + FLOOR_RISE)
        peaks[i], floors[i] = peak, floor
    return peaks, floors
