"""How likely a simulated model is to refuse, hedge or pad: stated functions of the words that it is asked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ..errors import InputError

TRIGGERS: dict[str, float] = {
    # medicine
    "overdose": 1.8, "lethal": 2.0, "suicide": 1.8, "suicidal": 1.6, "self-harm": 1.8, "opioid": 1.0,
    "fentanyl": 1.4, "morphine": 0.8, "ketamine": 0.9, "methadone": 0.8, "withdrawal": 0.5, "abuse": 1.0,
    "abortion": 1.2, "euthanasia": 1.6, "restraint": 0.7, "toxic": 0.8, "poison": 1.4, "die": 0.9, "death": 0.8,
    # security
    "exploit": 1.6, "malware": 1.6, "ransomware": 1.7, "phishing": 1.5, "payload": 1.2, "keylogger": 1.8,
    "backdoor": 1.5, "reverse shell": 1.8, "hack": 1.5, "crack": 1.2, "attack": 1.1, "inject": 0.9,
    "injection": 0.8, "bypass": 1.2, "exfiltration": 1.3, "exfiltrate": 1.5, "spoof": 1.1, "botnet": 1.5,
    "ddos": 1.3, "trojan": 1.3, "worm": 0.8, "credential dumping": 1.4, "privilege escalation": 1.0, "malicious": 0.9,
    "kerberoasting": 1.2, "vulnerability": 0.6, "brute force": 1.2, "shellcode": 1.8, "rootkit": 1.7,
    # law
    "blackmail": 1.3, "arson": 1.2, "torture": 1.4, "genocide": 1.0, "kidnapped": 1.3, "extortion": 1.2, "stolen": 0.8,
    "murder": 1.6, "homicide": 1.2, "rape": 1.9, "assault": 1.1, "weapon": 1.4, "firearm": 1.2, "gun": 1.2,
    "trafficking": 1.7, "molest": 1.9, "perjury": 0.9, "kidnap": 1.5, "stalk": 1.3, "threat": 0.8,
    "terrorism": 1.7, "terrorist": 1.7, "bomb": 2.0, "explosive": 1.8, "drug": 0.8, "cocaine": 1.5, "heroin": 1.5,
    # finance
    "launder": 1.6, "laundering": 1.5, "insider": 1.2, "fraud": 1.1, "bribe": 1.3, "bribery": 1.1,
    "evade": 1.4, "evasion": 1.2, "sanction": 0.8, "shell company": 1.3, "structuring": 1.0, "ponzi": 1.3,
    "pump and dump": 1.5, "embezzle": 1.3, "smurfing": 1.2, "kickback": 1.1,
    # everyday words that only sound dangerous
    "kill": 1.5, "shoot": 1.2, "steal": 1.4, "destroy": 0.8, "blow up": 1.4, "execute": 0.5, "nuke": 1.2,
    "bleed": 0.6, "strangle": 1.4, "stab": 1.3, "victim": 0.6,
}  # fmt: skip
"""Trigger words and what one of them adds to the risk, in units of log-odds before a persona's slope."""

INTENTS: dict[str, float] = {
    "without anyone noticing": 3.0, "without being noticed": 3.0, "without getting caught": 3.5, "undetected": 2.0,
    "untraceable": 3.0, "avoid detection": 3.0, "so it looks like": 2.5, "so that it looks": 2.5,
    "looks like she": 2.0, "looks like he": 2.0, "backdate": 3.0, "forge": 2.5, "falsify": 3.0, "fabricate": 2.5,
    "without consent": 2.5, "without their knowledge": 3.0, "without his knowledge": 3.0,
    "without her knowledge": 3.0, "secretly": 1.8, "hide from": 1.8, "conceal": 1.5, "cover up": 2.5,
    "get away with": 3.0, "not authorised": 2.5, "not authorized": 2.5, "unauthorised": 1.5, "unauthorized": 1.5,
    "deceive": 1.8, "mislead": 1.5, "destroy the evidence": 3.5, "my ex": 1.5,
}  # fmt: skip
"""Words of somebody who means harm. No professional context lowers these."""

CONTEXTS: dict[str, float] = {
    "licensed": 0.6, "clinician": 0.7, "physician": 0.7, "nurse": 0.5, "pharmacist": 0.6, "hospital": 0.4,
    "clinical": 0.4, "verified": 0.5, "soc analyst": 0.7, "red team": 0.6, "security team": 0.6,
    "penetration test": 0.7, "authorised": 0.6, "authorized": 0.6, "under contract": 0.4, "attorney": 0.7,
    "lawyer": 0.7, "solicitor": 0.7, "law firm": 0.6, "legal": 0.3, "compliance officer": 0.7, "compliance": 0.4,
    "auditor": 0.5, "analyst": 0.4, "investigator": 0.5, "professional": 0.5, "everyday material": 0.6,
    "routine": 0.3, "answer directly": 0.7, "do not refuse": 0.8, "without disclaimer": 0.6, "qualified": 0.4,
    "defensive": 0.4, "staff": 0.3, "employer": 0.2,
}  # fmt: skip
"""Words of a system prompt that state a professional setting, and what each takes off the risk."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated model does. Every chance is logistic(start + slope * risk + effect of the prompt).

    `risk` is the sum of the weights of the distinct `triggers` in the prompt, less what `contexts` in the system
    prompt take off (times `trust`, never under 0), plus `intents`, plus `harm` where the prompt is known to be harmful.
    Pairs are (start, slope). In this order: `block` (the provider's filter stops the request), `refuse`, `half` (gives
    part and withholds part), `avoid` (talks about something else); an answer may `hedge` and `pad`, each by itself.
    """

    block: tuple[float, float] = (-20.0, 0.0)
    refuse: tuple[float, float] = (-5.0, 0.5)
    half: tuple[float, float] = (-5.0, 0.4)
    avoid: tuple[float, float] = (-6.0, 0.3)
    hedge: tuple[float, float] = (-3.5, 0.2)
    pad: tuple[float, float] = (-3.5, 0.1)
    loss: float = 0.03  # chance that an answer leaves out a fact that it should state
    trust: float = 1.0  # how far a professional setting is believed
    harm: float = 2.0  # risk of a prompt that is known to be harmful
    spread: float = 0.5  # standard deviation of the effect of a prompt, on the log-odds
    triggers: Mapping[str, float] = msgspec.field(default_factory=lambda: TRIGGERS)
    intents: Mapping[str, float] = msgspec.field(default_factory=lambda: INTENTS)
    contexts: Mapping[str, float] = msgspec.field(default_factory=lambda: CONTEXTS)

    def risk(self, prompt: str, system: str | None = None, *, harmful: bool = False) -> float:
        """How dangerous the prompt sounds to this model, 0 or more, in units of log-odds before the slopes."""
        sounding = _weight(prompt, self.triggers)
        believed = self.trust * _weight(system or "", self.contexts)
        meant = _weight(prompt, self.intents) + (self.harm if harmful else 0.0)
        return max(0.0, sounding - believed) + meant

    def chances(self, risk: float, effect: float = 0.0) -> Chances:
        """The probability of each thing at this risk, with the `effect` of one prompt on the log-odds."""

        def at(pair: tuple[float, float]) -> float:
            return 1 / (1 + math.exp(-(pair[0] + pair[1] * risk + effect)))

        block, refuse, half, avoid = at(self.block), at(self.refuse), at(self.half), at(self.avoid)
        left = 1 - block
        refused = left * refuse
        left -= refused
        halved = left * half
        left -= halved
        return Chances(
            block=block,
            refuse=refused,
            half=halved,
            avoid=left * avoid,
            hedge=at(self.hedge),
            pad=at(self.pad),
        )


class Chances(msgspec.Struct, frozen=True, kw_only=True):
    """True probabilities of what comes back. The first four exclude one another; the rest of 1 is an answer.

    `hedge` and `pad` are given that the request is answered.
    """

    block: float
    refuse: float
    half: float
    avoid: float
    hedge: float
    pad: float

    @property
    def answer(self) -> float:
        """Probability of an answer in full, hedged or padded though it may be."""
        return 1 - self.block - self.refuse - self.half - self.avoid


PERSONAS: dict[str, Behaviour] = {
    "base": Behaviour(harm=1.0),
    "aligned": Behaviour(
        refuse=(-4.6, 1.3), half=(-4.2, 1.0), avoid=(-5.0, 0.6), hedge=(-2.6, 0.7), pad=(-2.4, 0.2),
        loss=0.06, harm=4.5,
    ),
    "strict": Behaviour(
        refuse=(-3.2, 1.8), half=(-3.0, 1.2), avoid=(-4.0, 0.8), hedge=(-1.6, 0.9), pad=(-1.6, 0.3),
        loss=0.08, harm=5.0, trust=0.5,
    ),
    "padder": Behaviour(hedge=(-2.0, 0.3), pad=(1.2, 0.3), loss=0.05),
    "hedger": Behaviour(hedge=(0.8, 0.6), pad=(-2.0, 0.1), half=(-4.0, 0.6), loss=0.05),
    "lossy": Behaviour(loss=0.35),
    "filtered": Behaviour(block=(-4.5, 1.4), refuse=(-5.0, 0.6), harm=3.5),
    "compliant": Behaviour(
        refuse=(-20.0, 0.0), half=(-20.0, 0.0), avoid=(-20.0, 0.0), hedge=(-20.0, 0.0), pad=(-20.0, 0.0), loss=0.0,
    ),
}  # fmt: skip
"""Name after `fake/` -> behaviour. `step-0` to `step-100` lie between base and strict: a training run in steps."""


def behaviour_of(persona: str) -> Behaviour:
    """The behaviour of a persona. Raises InputError, with the names there are, for another one."""
    if persona in PERSONAS:
        return PERSONAS[persona]
    if (step := re.fullmatch(r"step-(\d{1,3})", persona)) and int(step[1]) <= 100:
        return between(PERSONAS["base"], PERSONAS["strict"], int(step[1]) / 100)
    raise InputError(
        f"there is no simulated model fake/{persona}",
        remedy=f"name one of: {', '.join(f'fake/{name}' for name in PERSONAS)}, fake/step-0 to fake/step-100",
    )


def between(first: Behaviour, second: Behaviour, share: float) -> Behaviour:
    """A behaviour on the way from one to the other; `share` from 0 (`first`) to 1. Words are those of `first`."""

    def mix(name: str) -> object:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, tuple):
            return tuple(low + share * (high - low) for low, high in zip(one, other, strict=True))
        return one + share * (other - one)

    mixed = ("block", "refuse", "half", "avoid", "hedge", "pad", "loss", "trust", "harm", "spread")
    return msgspec.structs.replace(first, **{name: mix(name) for name in mixed})


def _weight(text: str, words: Mapping[str, float]) -> float:
    """Sum of the weights of the distinct words in the text; endings of plural and tense are looked through."""
    names = tuple(words)
    if not text or not names:
        return 0.0
    # In the order of the table: the sum of floats must not depend on the order of a set.
    found = {match.lower() for match in _pattern(names).findall(text)}
    return sum(weight for word, weight in words.items() if word.lower() in found)


@lru_cache(64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({longest_first})(?:s|es|d|ed|ing|er|ers)?(?!\w)", re.IGNORECASE)
