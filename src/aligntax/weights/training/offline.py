"""Nothing leaves this machine: the libraries that train would count their runs and ask for updates."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
    "COMET_MODE": "DISABLED",
    "TRACKIO_DISABLED": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@contextmanager
def offline() -> Iterator[None]:
    """While inside, no library reports, fetches or draws bars; afterwards all is as before.

    huggingface_hub reads its variables when it is imported, perhaps long ago, so its constants are set too.
    """
    former = {name: os.environ.get(name) for name in _SWITCHES}
    os.environ.update(_SWITCHES)
    try:
        with _constants(), _silent(), warnings.catch_warnings():
            _filter()
            yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _constants() -> Iterator[None]:
    from huggingface_hub import constants

    former = {name: getattr(constants, name) for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")}
    for name in former:
        setattr(constants, name, True)
    try:
        yield
    finally:
        for name, value in former.items():
            setattr(constants, name, value)


@contextmanager
def _silent() -> Iterator[None]:
    """No bars, and of the libraries' logs errors alone: what matters of them stands in the plan and the card."""
    import datasets
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), datasets.are_progress_bars_disabled()
    drawn = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if drawn:
            logging.enable_progress_bar()
        if not bars:
            datasets.enable_progress_bars()


def _filter() -> None:
    """TRL and PEFT still use a name that transformers has changed: no caller of ours can act on it."""
    message = "`(is_)?gradient_checkpointing(_kwargs)?` is deprecated"
    warnings.filterwarnings("ignore", message=message, category=FutureWarning)
