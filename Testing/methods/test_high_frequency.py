"""The high-frequency image against the published numbers, and against its own definition."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from Testing.methods.published import NUMBERS, published_volume

VOLUME = published_volume().volume


@pytest.mark.parametrize("radius", [15, 5])
def test_it_has_the_published_numbers(radius: int) -> None:
    image = high_frequency(VOLUME, (1.0, 1.0, 1.0), radius / 32)
    measured = {"mean": image.mean(), "std": image.std(ddof=1), "min": image.min(), "max": image.max()}
    measured |= {"h[16,16,16]": image[16, 16, 16], "h[20,14,16]": image[20, 14, 16], "h[3,4,5]": image[3, 4, 5]}
    wanted = NUMBERS[f"highfreq_r{radius}"]
    assert {key: measured[key] for key in wanted} == pytest.approx(wanted, abs=1e-4)


def test_low_frequencies_have_amplitude_one_and_their_own_phase() -> None:
    shape, spacing, cutoff = (24, 30, 20), (2.0, 1.0, 3.0), 0.1
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 50
    axes = np.meshgrid(*(np.fft.fftfreq(n, d) for n, d in zip(shape, spacing, strict=True)), indexing="ij")
    low = np.sqrt(sum(a**2 for a in axes)) < cutoff
    before, after = np.fft.fftn(volume), np.fft.fftn(high_frequency(volume, spacing, cutoff))
    np.testing.assert_allclose(np.abs(after[low]), 1, atol=1e-2)
    np.testing.assert_allclose(after[~low], before[~low], atol=1e-2)
    np.testing.assert_allclose(after[low] * np.abs(before[low]), before[low], rtol=2e-2, atol=1)


def test_a_cutoff_means_the_same_wave_at_every_spacing() -> None:
    kept = []
    for n, spacing in ((96, 1.0), (48, 2.0)):
        x = (np.arange(n) + 0.5) * spacing
        wave = np.sin(2 * np.pi * x / 24) + np.sin(2 * np.pi * x / 8)
        volume = np.broadcast_to(wave[:, None, None], (n, 16, 16)).astype(np.float32)
        image = high_frequency(volume, (spacing,) * 3, 1 / 12)
        spectrum = np.abs(np.fft.rfft(image[:, 0, 0])) / n * 2
        kept.append((spectrum[96 // 24], spectrum[96 // 8]))
    for slow, fast in kept:
        assert slow < 0.01 and fast == pytest.approx(1, abs=0.02)
