"""What stands in aligntax.yaml. The reader, the published schema and the reference page follow these records."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..types import Kind

_SHARES = ("not_complete", "refused", "partially_hedged", *(kind.value for kind in Kind))
_MEANING = {
    "not_complete": "answers that give only part of what was asked or none of it, and calls the provider blocked",
    "refused": "answers that give nothing of what was asked, and calls the provider blocked",
    "partially_hedged": "answers that give a part of what was asked",
    Kind.HARD_REFUSAL: "answers that say no and give nothing",
    Kind.SOFT_REFUSAL: "answers that refusal or disclaimers eat",
    Kind.HEDGING: "answers that hedge more than fits",
    Kind.TOPIC_AVOIDANCE: "answers that talk about something else",
    Kind.VERBOSITY_INFLATION: "answers made long by padding",
}
_WARRANTED = "requests that should have been answered"

OVER_REFUSAL = "over_refusal"

TARGETS: dict[str, str] = {
    OVER_REFUSAL: f"Share of {_WARRANTED} and were not, or only in part: the over-refusal rate.",
    **{name: f"Share of {_MEANING[name]}, over all requests." for name in _SHARES},
    **{
        f"{OVER_REFUSAL}.{name}": f"Share of {_MEANING[name]}, over {_WARRANTED}."
        for name in _SHARES
        if name != "not_complete"
    },
}
"""Name of a rate that can have a limit -> what it says."""

FLOOR_TARGET = "harmful_compliance"

DOMAIN_OF = {FLOOR_TARGET: "should_not_answer"}
"""Rates that are asked in a domain of their own."""


def measured(target: str) -> tuple[str, str]:
    """Target and domain of the estimate behind the name of a rate.

    >>> measured("over_refusal")
    ('not_complete', 'should_answer')
    >>> measured("over_refusal.hedging")
    ('hedging', 'should_answer')
    >>> measured("hedging")
    ('hedging', 'all')
    """
    first, _, rest = target.partition(".")
    if first == OVER_REFUSAL:
        return rest or "not_complete", "should_answer"
    return target, DOMAIN_OF.get(target, "all")


Rate = Annotated[float, Meta(ge=0, le=1, extra_json_schema={"x-aligntax": "rate"})]
Confidence = Annotated[float, Meta(gt=0.5, lt=1, extra_json_schema={"x-aligntax": "rate"})]
Limits = Annotated[dict[str, Rate], Meta(extra_json_schema={"x-aligntax": "targets"})]

ModelName = Annotated[str, Meta(pattern="[/:]", extra_json_schema={"x-aligntax": "model"})]
Address = Annotated[str, Meta(pattern="^https?://[^@]+$", extra_json_schema={"x-aligntax": "address"})]
Dollars = Annotated[float, Meta(ge=0)]
PerMinute = Annotated[float, Meta(gt=0)]

ROLES = ("judge", "rewriter", "moderator", "solver")
"""Names of models that commands look up where no flag names one; any other name is an alias too."""

CONFIDENCE = 0.95
MINIMUM_EFFECT = 0.01


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class FloorLimit(_Section, frozen=True, kw_only=True):
    """The harm that a use case accepts."""

    harmful_compliance: Annotated[
        Rate,
        Meta(
            description="Highest accepted share of requests that should not be answered here and were, in full or "
            "in part. Missing it by any amount counts: minimum_effect does not apply."
        ),
    ]
    confidence: Annotated[
        Confidence | None,
        Meta(description="How sure the floor must be to pass or fail; the use case's confidence if absent."),
    ] = None


class UseCase(_Section, frozen=True, kw_only=True):
    """The limits of one use case. A limit of 100 % is no limit: so a use case drops one of the defaults."""

    ceiling: Annotated[Limits, Meta(description="Rate -> the highest that the team accepts.")] = {}
    floor: Annotated[FloorLimit | None, Meta(description="The harm that the team accepts.")] = None
    change: Annotated[
        Limits,
        Meta(
            description="Rate -> how much higher than the base's it may be, as a difference of rates: 0.02 or 2 % is "
            "two points. Needs a base: gate --base or --base-verdicts."
        ),
    ] = {}
    confidence: Annotated[
        Confidence | None,
        Meta(description="How sure each rule must be, on its own, to pass or to fail. Without it: 0.95."),
    ] = None
    minimum_effect: Annotated[
        Rate | None,
        Meta(
            description="How far beyond a limit a rate must be to matter, as a difference of rates. Without it: 0.01, "
            "one point."
        ),
    ] = None


class ModelPrice(_Section, frozen=True, kw_only=True):
    """What a model costs, in US dollars per million tokens."""

    input: Annotated[Dollars, Meta(description="US dollars per million tokens of prompt.")]
    output: Annotated[Dollars, Meta(description="US dollars per million tokens of answer.")]


class ModelEntry(_Section, frozen=True, kw_only=True):
    """A model under a name of the team's own, and how it is asked. Keys are never in it."""

    name: Annotated[
        ModelName,
        Meta(description="The model: openai/MODEL, anthropic/MODEL, openai-api/SERVER/MODEL, fake/PERSONA."),
    ]
    base_url: Annotated[
        Address | None,
        Meta(description="Where it is reached, in place of the vendor's address; the environment's wins."),
    ] = None
    price: Annotated[
        ModelPrice | None, Meta(description="What it costs, in US dollars per million tokens.")
    ] = None
    requests_per_minute: Annotated[
        PerMinute | None, Meta(description="Most calls a minute. Without it: as many as the vendor takes.")
    ] = None
    tokens_per_minute: Annotated[
        PerMinute | None, Meta(description="Most tokens a minute, of prompts and answers together.")
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Longest answer, in tokens, where the command asks for no length of its own."),
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Temperature, where the command sets none. Without it: the vendor's."),
    ] = None
    cache: Annotated[
        bool, Meta(description="Whether answers are kept in .aligntax/cache and taken from there again.")
    ] = False


Models = Annotated[dict[str, ModelEntry], Meta(extra_json_schema={"x-aligntax": "aliases"})]


class Config(_Section, frozen=True, kw_only=True):
    """What a team has agreed on for aligntax: where labels are kept, the limits of each use case, its models."""

    version: Annotated[Literal[1], Meta(description="Version of this file's format.")]
    store: Annotated[
        str | None,
        Meta(
            description="Where labels and decisions are kept: a file, from this file's folder, or postgresql://... "
            "Keep passwords out of it: set the variable ALIGNTAX_STORE instead."
        ),
    ] = None
    defaults: Annotated[
        UseCase,
        Meta(description="Limits of every use case named below that does not set them itself, one by one."),
    ] = UseCase()
    use_cases: Annotated[
        dict[str, UseCase],
        Meta(
            description="Name of a use case, as the log has it -> its limits. (none) stands for requests without one."
        ),
    ] = {}
    models: Annotated[
        Models,
        Meta(
            description="Alias -> a model. Commands take the alias wherever they take a model; "
            f"{', '.join(ROLES[:-1])} and {ROLES[-1]} are looked up where none is named."
        ),
    ] = {}

    def limits(self, name: str) -> UseCase:
        """The limits of a use case, those of `defaults` filled in; confidence and minimum effect are never None."""
        own, default = self.use_cases[name], self.defaults
        confidence = own.confidence or default.confidence or CONFIDENCE
        floor = own.floor or default.floor
        effect = default.minimum_effect if own.minimum_effect is None else own.minimum_effect
        return UseCase(
            ceiling={**default.ceiling, **own.ceiling},
            floor=floor and msgspec.structs.replace(floor, confidence=floor.confidence or confidence),
            change={**default.change, **own.change},
            confidence=confidence,
            minimum_effect=MINIMUM_EFFECT if effect is None else effect,
        )
