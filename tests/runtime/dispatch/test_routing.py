"""Replicas take turns; named ones are taken at their word."""

from __future__ import annotations

from gangline.runtime.dispatch.routing import LeastLoaded


def test_least_loaded_then_longest_unused() -> None:
    routing = LeastLoaded(["gpu/0", "gpu/1", "cpu/0"])
    picked = []
    for _ in range(4):
        picked.append(routing.pick("gpu"))
        routing.begin(picked[-1])
    assert picked == ["gpu/0", "gpu/1", "gpu/0", "gpu/1"]
    routing.end("gpu/1")
    assert routing.pick("gpu") == "gpu/1"
    assert (routing.pick("gpu/0"), routing.pick("cpu"), routing.pick("tpu")) == (
        "gpu/0",
        "cpu/0",
        "tpu",
    )
