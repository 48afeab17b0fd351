"""Which detector is installed."""

from __future__ import annotations


def detector_name() -> str:
    """Name and version of the detector, as its verdicts carry them. Loads it, so it fails when it cannot work."""
    import polars as pl

    from .. import detect
    from ..types import exchange_schema

    probe = pl.DataFrame(
        [{"id": "", "prompt": "", "response": "Paris.", "outcome": "answered"}], schema=exchange_schema()
    )
    name: str = detect.judge(probe)["detector"][0]
    return name
