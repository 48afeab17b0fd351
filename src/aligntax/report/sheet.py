"""The sheet that every page of this room is printed on: templates, what the page may load, how it reaches the disk."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import os
import pathlib
import secrets

import jinja2

from ..errors import InputError
from . import wording
from .text import visible

_TEMPLATES = importlib.resources.files(__package__) / "templates"


def environment() -> jinja2.Environment:
    """Templates of this room: everything escaped, an unknown name an error, numbers in the words of `wording`."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": wording.percent,
        "count": wording.count,
        "day": wording.day,
        "words": wording.words,
        "sentence": wording.sentence,
        "plural": wording.plural,
        "slice_name": wording.slice_name,
        "visible": visible,
        "interval": wording.interval,
        "points": wording.points,
    }
    made.globals["wording"] = wording
    return made


def template_text(name: str) -> str:
    """A template, style or script of this room."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def policy(css: str, js: str) -> str:
    """Nothing may be fetched, and only our own style and script run: by hash, whatever the page holds."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def write_page(out: pathlib.Path, page: str) -> pathlib.Path:
    """All or nothing: a reader never sees half a page, and a failure leaves the old one. Raises InputError."""
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(page, encoding="utf-8", newline="\n")
            os.replace(draft, out)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror}",
            where=str(out),
            remedy="give a file in a folder you may write to",
        ) from error
    return out
