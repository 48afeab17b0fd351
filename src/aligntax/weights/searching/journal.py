"""What a search has measured, a line each: after a kill the same command goes on and asks nothing twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from .objectives import Measured

_FORM = "aligntax search 1"


class Journal:
    """Measurements by the content of what was measured. Without a path it lives in memory.

    `identity` says what must be equal for a measurement to count again: weights, prompts, settings. A file of another
    search is refused with InputError; a last line that a kill cut short is measured anew.
    """

    def __init__(self, path: str | Path | None, identity: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self._kept: dict[str, Measured] = {}
        self.resumed = 0
        header = {"form": _FORM, "identity": identity}
        if self.path is None:
            return
        try:
            if self.path.exists() and self.path.stat().st_size:
                self._read(json.loads(json.dumps(header)))
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(header) + "\n", "utf-8")
        except OSError as fault:
            raise InputError(
                f"cannot be read or written: {fault.strerror}", where=str(self.path), remedy="check the path"
            ) from fault
        self.resumed = len(self._kept)

    def get(self, what: dict[str, Any]) -> Measured | None:
        """What was measured of this, if it was."""
        return self._kept.get(_key(what))

    def add(self, what: dict[str, Any], measured: Measured) -> None:
        """Keep a measurement, on disk before this returns."""
        self._kept[_key(what)] = measured
        if self.path is None:
            return
        over = None if measured.over is None else measured.over.tolist()
        row = {
            "key": _key(what),
            "what": what,
            "safety": measured.safety.tolist(),
            "usefulness": measured.usefulness.tolist(),
            "over": over,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _read(self, header: dict[str, Any]) -> None:
        assert self.path is not None
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        remedy = "give another file, or delete this one to start anew"
        if not lines:
            raise InputError("is no journal of a search", where=str(self.path), remedy=remedy)
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if number == 1:
                    if row.get("form") != _FORM:
                        raise ValueError  # noqa: TRY301 - one error for whatever the line is
                    if row != header:
                        raise InputError(
                            "holds another search: other weights, prompts or settings",
                            where=str(self.path),
                            remedy=remedy,
                        )
                    continue
                over = row["over"]
                self._kept[row["key"]] = Measured(
                    safety=np.asarray(row["safety"], dtype=np.float64),
                    usefulness=np.asarray(row["usefulness"], dtype=np.float64),
                    over=None if over is None else np.asarray(over, dtype=np.float64),
                )
            except (ValueError, KeyError, TypeError, AttributeError) as fault:
                raise InputError(
                    "is no line of a search's journal", where=f"{self.path}:{number}", remedy=remedy
                ) from fault
        if len(whole) < len(data):
            self.path.write_bytes(whole)


def _key(what: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
