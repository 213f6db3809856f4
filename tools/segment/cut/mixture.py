"""A mixture of Gaussians, of what the pixels of a part of an image look like."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

ROUNDS = 4
"""How often the samples are shared out among the Gaussians again."""

LEAST = 8
"""Fewest samples of a Gaussian."""

LEAST_SHARE = 0.02
"""Smallest share of the samples that a Gaussian has."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """One of a mixture: its mean, what whitens it, and the logarithm of its weight and scale."""

    mean: Rows
    whitening: Rows
    log_scale: float

    @classmethod
    def of(cls, samples: Rows, share: float, spread: float) -> "Gaussian":
        """Of samples in rows; `spread` is the least variance."""
        mean = samples.mean(axis=0)
        away = samples - mean
        covariance = (away.T @ away) / len(samples) + spread * np.eye(len(mean), dtype=np.float32)
        root = np.linalg.cholesky(covariance.astype(np.float64))
        scale = float(np.log(share) - np.log(np.diag(root)).sum())
        return cls(mean, np.linalg.inv(root).T.astype(np.float32), scale)

    def log_density(self, rows: Rows) -> Rows:
        """Of each row, up to a constant that all Gaussians share."""
        white = (rows - self.mean) @ self.whitening
        density: Rows = self.log_scale - 0.5 * np.einsum("ij,ij->i", white, white)
        return density


def mixture(samples: Rows, most: int, spread: float) -> tuple[Gaussian, ...]:
    """A mixture of up to so many Gaussians; they begin as equal parts along the main axis."""
    away = samples - samples.mean(axis=0)
    axis = np.linalg.eigh((away.T @ away).astype(np.float64))[1][:, -1]
    order = np.argsort(np.argsort(away @ axis.astype(np.float32), kind="stable"), kind="stable")
    part = order * most // len(samples)
    made: tuple[Gaussian, ...] = ()
    for _ in range(ROUNDS if most > 1 else 1):
        least = max(LEAST, LEAST_SHARE * len(samples))
        parts = [samples[part == number] for number in range(most)]
        made = tuple(
            Gaussian.of(each, len(each) / len(samples), spread)
            for each in parts
            if len(each) >= least
        ) or (Gaussian.of(samples, 1.0, spread),)
        most = len(made)
        if most == 1:
            break
        new = np.argmax([each.log_density(samples) for each in made], axis=0)
        if np.array_equal(new, part):
            break
        part = new
    return made


def log_density(gaussians: tuple[Gaussian, ...], rows: Rows) -> Rows:
    """Of each row under a mixture, up to a constant that all mixtures share."""
    each = np.stack([gaussian.log_density(rows) for gaussian in gaussians])
    most = each.max(axis=0)
    total: Rows = most + np.log(np.exp(each - most).sum(axis=0))
    return total
