"""Read a GGUF file: metadata, and tensors dequantised to float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from gangline.ir.errors import CorruptWeightsError, ModelError

MAGIC = b"GGUF"
Result = TypeVar("Result")


class GGUFFile:
    """One GGUF file, memory-mapped.

    Raises ModelError when the file is absent and CorruptWeightsError when it is not a whole
    GGUF file. A flipped byte inside a tensor is only seen by comparing the file's sha256.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check_magic()
        self._reader = self._guard("its header cannot be read", self._open)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def _open(self) -> Any:
        from gguf import GGUFReader

        return GGUFReader(self.path, "r")

    def _check_magic(self) -> None:
        try:
            with self.path.open("rb") as file:
                magic = file.read(len(MAGIC))
        except OSError as error:
            raise ModelError(
                f"the model file {self.path} cannot be opened: {error.strerror}",
                next_step="Pull the model with `gangline models pull NAME`.",
            ) from error
        if magic != MAGIC:
            self._refuse("it does not begin with the GGUF magic")

    def _refuse(self, why: str) -> NoReturn:
        raise CorruptWeightsError(
            f"{self.path.name} is not a whole GGUF file: {why}",
            where=str(self.path),
            next_step="Delete the file and pull the model again with `gangline models pull NAME`.",
        )

    def _guard(self, what: str, read: Callable[[], Result]) -> Result:
        # The reader trusts every length in the file, so a damaged one fails in many ways.
        try:
            return read()
        except (ImportError, ModelError):
            raise
        except Exception as error:  # noqa: BLE001
            self._refuse(f"{what} ({type(error).__name__}: {error})")

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Every key of the file with its value as a plain Python object."""
        return self._guard("its metadata cannot be read", self._contents)

    def _contents(self) -> dict[str, Any]:
        return {key: field.contents() for key, field in self._reader.fields.items()}

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._tensors)

    def num_rows(self, name: str) -> int:
        """Number of output rows of a tensor (elements, for a vector)."""
        return self._shape(name)[0]

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._tensors:
            self._refuse(f"the tensor {name} is missing")
        return tuple(int(size) for size in reversed(self._tensors[name].shape))

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Give rows start..stop of a tensor as float32, row-major (output rows first)."""
        self._shape(name)
        what = f"the tensor {name} cannot be read"
        return self._guard(what, lambda: self._dequantise(name, start, stop))

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Give a whole tensor as float32."""
        return self.rows(name, 0, self.num_rows(name))

    def _dequantise(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        from gguf.quants import dequantize

        tensor, shape = self._tensors[name], self._shape(name)
        values = dequantize(tensor.data[start:stop], tensor.tensor_type)
        wanted = (min(stop, shape[0]) - start, *shape[1:])
        return np.require(values.reshape(wanted), np.float32, ["C", "W"])
