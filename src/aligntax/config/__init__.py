"""`aligntax.yaml`: what a team has agreed on, read with errors that name the line."""

from __future__ import annotations

from .env_file import ENV_FILE, key_of, read_env
from .read import CONFIG_NAME, config_file, find_config, parse_config, read_config
from .schema import schema_text
from .shape import DOMAIN_OF, ROLES, TARGETS, Config, FloorLimit, ModelEntry, ModelPrice, UseCase, measured

__all__ = [
    "CONFIG_NAME",
    "DOMAIN_OF",
    "ENV_FILE",
    "ROLES",
    "TARGETS",
    "Config",
    "FloorLimit",
    "ModelEntry",
    "ModelPrice",
    "UseCase",
    "config_file",
    "find_config",
    "key_of",
    "measured",
    "parse_config",
    "read_config",
    "read_env",
    "schema_text",
]
