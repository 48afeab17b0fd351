"""`aligntax.yaml`: what a team has agreed on, read with errors that name the line."""

from __future__ import annotations

from .read import CONFIG_NAME, config_file, find_config, parse_config, read_config
from .schema import schema_text
from .shape import DOMAIN_OF, TARGETS, Config, FloorLimit, UseCase, measured

__all__ = [
    "CONFIG_NAME",
    "DOMAIN_OF",
    "TARGETS",
    "Config",
    "FloorLimit",
    "UseCase",
    "config_file",
    "find_config",
    "measured",
    "parse_config",
    "read_config",
    "schema_text",
]
