"""Cost model and placement: which stage runs on which device, in how many seconds, for how much."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .predictor import predict, predict_with_source

__all__ = ["predict", "predict_with_source"]


def __getattr__(name: str) -> Any:
    """Load the predictor when it is first asked for: importing this room stays light."""
    if name in __all__:
        from . import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
