"""Cosines of an embedding with many others, exactly. Imports numpy: only for whoever needs it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cosines(wanted: bytes, vectors: Sequence[bytes]) -> list[float]:
    """Give the cosine of one embedding with each of some; all are float32, little-endian.

    0 where an embedding has no length.
    """
    one = np.frombuffer(wanted, dtype="<f4").astype(np.float64)
    many = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
    lengths = np.sqrt(np.einsum("ij,ij->i", many, many, dtype=np.float64)) * np.linalg.norm(one)
    dots = np.einsum("ij,j->i", many, one, dtype=np.float64)
    scores = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    found: list[float] = scores.tolist()
    return found
