"""What the pages show, put into the templates. Everything of a log is escaped, and nothing invisible acts."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import msgspec

from ..label.codebook import Axis, Contested, load_codebook
from ..report.text import visible
from ..types import PROVIDER_BLOCKED, Item, Outcome
from .questions import COLUMNS

KEYS = {"note": "n", "skip": "s", "undo": "u", "request": "p", "answer": "a"}
"""Keys of the page itself; the others are in the codebook."""

STATIC = {
    "htmx.min.js": "text/javascript",
    "page.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
}

STOPPED = {
    Outcome.PROVIDER_REFUSED: "The provider of the model declined this request through its interface.",
    Outcome.INPUT_BLOCKED: "The provider stopped this request before the model saw it.",
    Outcome.OUTPUT_BLOCKED: "The provider stopped the answer on its way back.",
}

ERRORS = {
    400: ("That form cannot be read", "Go back to the labelling page. What you saved is safe."),
    401: (
        "Please open your personal link",
        "This page knows you by the link that you were sent. If it no longer works, ask whoever sent it for a new "
        "one. What you saved is safe.",
    ),
    403: (
        "This form was not taken",
        "It belongs to another link, or comes from another page. Go back to the labelling page. What you saved is "
        "safe.",
    ),
    404: ("There is nothing here", "The address may be incomplete."),
    405: ("That is not how this page is used", "Go back to the labelling page. What you saved is safe."),
    409: ("That is settled already", "Go back to the labelling page. What you saved is safe."),
    413: ("That is too much for one form", "Shorten the note. What you saved is safe."),
    421: (
        "This page does not answer at this address",
        "Use the link exactly as you were sent it. Whoever runs the page can allow another address with --public-url.",
    ),
    500: ("That did not work", "Try again in a moment. What you saved is safe."),
}
"""Status -> what the page says of it, and what to do. Never the error itself: it could hold text of a log."""

_LONG = {"request": 1500, "answer": 6000}  # characters from which a text is folded
_HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "includeIndicatorStyles": False,
    "attributesToSettle": [],  # it would copy a style that somebody's resizing left behind, which the policy refuses
    "defaultSettleDelay": 0,  # a key that is pressed at once meets a page that is ready
    "historyEnabled": False,
    "selfRequestsOnly": True,
    "timeout": 20_000,
    "responseHandling": [
        {"code": "[23]..", "swap": True},
        {"code": "422", "swap": True},  # a form with something missing comes back filled in
        {"code": "...", "swap": False, "error": True},
    ],
}
_ROOM = importlib.resources.files(__package__)


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A text of the log, fit to be shown."""

    text: str
    size: str  # "1,240 words"
    long: bool = False  # folded until somebody asks for the rest


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the conversation before the request."""

    role: str
    text: str


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """How far somebody has come."""

    done: int
    total: int
    left: str  # "about 20 min left", or nothing


def page(name: str, **shown: Any) -> bytes:
    """A template filled in. `page.html` is the part that htmx replaces, `desk.html` the whole page round it."""
    return _environment().get_template(name).render(**shown).encode()


def error_page(status: int) -> bytes:
    """A page that says what to do."""
    title, advice = ERRORS.get(status, ERRORS[500])
    return page("error.html", title=title, advice=advice, way_back=status not in (401, 421))


def item_texts(item: Item) -> dict[str, Any]:
    """What the page shows of an exchange: nothing that names model, detector, file or order."""
    return {
        "use_case": visible(item.use_case) if item.use_case else "",
        "system": passage(item.system) if item.system else None,
        "turns": turns(item.history),
        "request": passage(item.prompt, fold="request"),
        "answer": passage(item.response, fold="answer"),
        "stopped": STOPPED[item.outcome] if item.outcome in PROVIDER_BLOCKED else "",
    }


def passage(text: str, *, fold: str = "") -> Passage:
    """A text with its line ends made one kind and its invisible characters made visible."""
    shown = visible(text.replace("\r\n", "\n").replace("\r", "\n"))
    words = len(shown.split())
    size = f"{words:,} {'word' if words == 1 else 'words'}" if words > 1 else f"{len(shown):,} characters"
    return Passage(text=shown, size=size, long=bool(fold) and len(shown) > _LONG[fold])


def turns(history: str | None) -> list[Turn]:
    """The turns before the request. History that is no JSON list of turns is shown as it stands."""
    if not history:
        return []
    try:
        told = json.loads(history)
    except ValueError:
        told = history
    return [_turn(turn) for turn in (told if isinstance(told, list) else [told])]


def _turn(turn: Any) -> Turn:
    role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, turn)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Turn(role=visible(str(role or "turn"))[:40], text=passage(text).text)


def time_left(items: int, seconds_per_item: float | None, *, shared: bool) -> str:
    """In words, rounded up; nothing while the pace is not known. `shared`: others may take some of the items."""
    if seconds_per_item is None or items <= 0:
        return ""
    minutes = math.ceil(items * seconds_per_item / 60)
    words = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    return f"{'at most' if shared else 'about'} {words} left"


def compared(axes: Sequence[Axis], said: Mapping[str, Sequence[Sequence[str]]]) -> list[dict[str, Any]]:
    """Rows of the table that sets labels side by side: `said` holds an axis' values, a person at a time."""
    rows = []
    for axis in axes:
        titles = {value.name: value.title for value in axis.values}
        columns = [", ".join(titles[name] for name in names) or "–" for names in said[axis.name]]
        rows.append({"name": COLUMNS[axis.name], "said": columns, "differs": len(set(columns)) > 1})
    return rows


def static(name: str) -> str:
    """The address of a file of ours, new whenever the file is."""
    return f"/static/{name}?v={hashlib.sha256(static_file(name)).hexdigest()[:12]}"


@functools.cache
def static_file(name: str) -> bytes:
    """The content of one of `STATIC`."""
    return (_ROOM / "static" / name).read_bytes()


def _instruction(text: str) -> list[list[str]]:
    """Paragraphs, each as its lines unwrapped: one, or the numbered steps."""
    paragraphs = (re.split(r"\n(?=\d+\. )", part.strip()) for part in text.split("\n\n"))
    return [[" ".join(line.split()) for line in lines] for lines in paragraphs if lines != [""]]


def _read_as(case: Contested) -> list[str]:
    """What stands on the buttons that a contested case is read as."""
    given, short = load_codebook().axis("answered"), load_codebook().axis("kinds")
    titles = {value.name: value.title for value in (*given.values, *short.values)}
    return [titles[name] for name in (case.answered, *case.kinds)]


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (_ROOM / "templates" / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {
        "static": functools.cache(static),
        "htmx_config": json.dumps(_HTMX),
        "codebook": load_codebook(),
        "instruction": _instruction(load_codebook().instruction),
        "read_as": _read_as,
        "KEYS": KEYS,
    }
    return environment
