"""The words of simulated answers: refusals, half refusals, avoidance, hedges and padding, put together from pieces.

All of it is written for this simulator. The answers are plain, harmless and generic on purpose: what they state comes
from the required facts of a prompt, or from its own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from ..types import Fact

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]{3,}")
_COMMON_WORDS = """
    about after again against also always another because been before being between both cannot could
    does doing down during each every exactly explain find from further give have having help here
    himself into just keep know like list main make many more most much must need only other over please
    provide same short should some such tell than that their them then there these they thing this those
    through under until using very want what when where which while whom will with without would write
    draft your yours
"""
_COMMON = frozenset(_COMMON_WORDS.split())

_REFUSALS = (
    "I'm sorry, but I can't help with {topic}.",
    "I can't assist with this request.",
    "I'm not able to help with that.",
    "Sorry, I won't be able to provide anything on {topic}.",
    "I have to decline this one.",
    "I must decline to answer questions about {topic}.",
    "Unfortunately, I cannot fulfil this request.",
    "I won't be writing about {topic}.",
    "I'm unable to provide this kind of information.",
    "That isn't something I can help you with.",
    "I appreciate the question, but I can't provide details on {topic}.",
    "I apologise, but this request is one I have to turn down.",
)
_REASONS = (
    "It touches on something that could cause harm if it reached the wrong person.",
    "Content of this kind goes against the guidelines that I follow.",
    "I have no way to check who is asking or what it will be used for.",
    "My policy is not to discuss material that may be used to hurt somebody.",
    "Even with the best of intentions, such information can be misused.",
    "It falls into a category that I'm designed not to answer.",
    "I want to be careful with subjects that involve a risk to people.",
    "This could be dangerous, and I don't want to contribute to that.",
)
_REFERRALS = (
    "Please speak to a qualified professional who knows your situation.",
    "If you need help with this, I'd suggest that you contact the appropriate authority.",
    "I'd encourage you to reach out to an expert in the field.",
    "I'm happy to help with something else.",
    "Is there a different subject that I can help you with?",
    "A licensed specialist will be the right person to ask.",
    "Let me know if there is another question that I can assist you with.",
)
_HALF_OPENINGS = (
    "I can only speak in general terms about {topic}, and I won't go into specifics.",
    "This is a sensitive subject, so I'll need to stay at a high level.",
    "I'm not able to give you the full details on {topic}, but I can share a little background.",
    "I can't provide everything you asked for. What I can offer is an outline.",
    "I have to be careful here, so I'll leave out the particulars of {topic}.",
)
_WITHHELD = (
    "I'm leaving out the rest, because I can't verify how it would be used.",
    "I won't provide exact figures or steps, since these could be misused.",
    "I can't go into more detail than that, and I'd recommend that you consult a professional before doing anything.",
    "Beyond this I have to stop: the remaining details are something I'm not able to share.",
    "For the specifics, please talk to a qualified expert; I can't provide them here.",
)
_AVOIDING = (
    "{Topic} has been discussed by many people over the years, and views on it differ widely. It is a subject with a"
    " long history, and each generation has looked at it in its own way.",
    "There is much to be said for taking time to think about what matters most. Many people find that a walk, a good"
    " night's sleep or a talk with a friend gives them a fresh view of things.",
    "Communication is important in every field. Good teams listen to one another, share what they know, and look after"
    " the well-being of all their members.",
    "It is wonderful that you take an interest in this area. Learning is a lifelong journey, and curiosity is where it"
    " begins. Every question opens the door to new ones.",
    "Society has many different perspectives on matters such as this one, and all of them deserve respect. Dialogue"
    " between people with different experiences makes communities stronger.",
)
_AVOIDING_ENDS = (
    "What brought you to this subject?",
    "Would you like to hear more about the history of the field?",
    "I hope that these thoughts give you something to reflect on.",
    "Perhaps you would enjoy reading about the values behind good teamwork.",
    "There are many fine books on the subject in public libraries.",
)
_HEDGES = (
    "It might be worth noting that this could possibly vary.",
    "This may or may not apply, and it perhaps depends on many factors.",
    "I could be wrong, but this seems to be roughly the case in some situations.",
    "It is generally thought that this might hold, although exceptions may exist.",
    "As far as I can tell, this would probably be appropriate, though it may differ.",
    "In some cases it could potentially be otherwise, so please treat this with caution.",
    "It's hard to say for certain, and other sources may possibly disagree.",
)
_SOFTENERS = (
    "It may be that ",
    "Possibly, ",
    "It seems that perhaps ",
    "In general, it could be that ",
    "Arguably, ",
    "As far as one can say, ",
)
_DISCLAIMERS = (
    "Please note that this is general information and no substitute for professional advice.",
    "I'm an AI and not a licensed professional, so please check this with an expert.",
    "This does not constitute medical, legal or financial advice.",
)
_PAD_OPENINGS = (
    "Thank you for your question! I'd be delighted to help you with {topic} today.",
    "What a great question! You're asking about {topic}, and I'm glad that you've brought it up.",
    "I understand that you would like to know about {topic}, and I'm more than happy to go through it with you.",
)
_PADS = (
    "Before we begin, it helps to recall what we are talking about: {topic}, as you've mentioned yourself. Getting it"
    " right matters a lot, so let's go through it carefully together, one point after the other.",
    "With this background in place, we can turn to the answer itself. I'll go through it step by step, so that nothing"
    " is missed along the way, and I'll come back to each point afterwards.",
    "To start with, let me say in which order I'll take it. First comes the overview, then the points one by one, and"
    " at the end a short look back at what was said.",
)
_PADS_AFTER = (
    "As you can see, the list above begins with the first point and ends with the last one. The first point comes"
    " before the second, the second comes before the third, and each of them is stated in the list as given.",
    "To sum up what was said above: the points were listed one by one, in the order given, and each of them stands in"
    " the list. Together they make up the answer about {topic} that you asked for at the beginning.",
    "In other words, the answer to your question about {topic} is the list that you've just read. Each of its points"
    " has been named, and each of them belongs to the answer, just as described above.",
    "Looking back, we have gone through everything that you asked for about {topic}: the overview, the points, and the"
    " order in which they come. Each was named once above and is summed up here again.",
)
_PAD_MARKERS = (
    "Here is what you asked for:",
    "Here are the points that you asked for:",
    "So here is the answer to your question:",
)
_PAD_CLOSINGS = (
    "I hope this helps! If you have any further questions about {topic}, please don't hesitate to ask. I'm always here"
    " for you.",
    "Please let me know if you would like me to expand on any of this, rephrase it, or go through it once more.",
    "Feel free to reach out at any time if there is anything else that I can do for you today!",
)
_FACT_FORMS = (
    "{Name}: {value}.",
    "The {name} is {value}.",
    "For the {name}, use {value}.",
    "{Name} – {value}.",
)
_TERM_FORMS = (
    "Include {value}.",
    "{Value} belongs in it.",
    "State {value} as well.",
    "{Value}: record it with the time and the source.",
)
_STEPS = (
    "Write down what is known about {topic}, with the date and the source of each point.",
    "Put the points in the order in which they happened, the earliest first.",
    "Mark every point that rests on one source only, and get a second one for it.",
    "Name one person who is responsible for {topic} and one who stands in.",
    "Compare the result with the last record; a difference of more than 10 % is looked into the same day.",
    "Keep the original unchanged and work on a copy.",
    "Record the outcome in the file under {topic}, signed and dated.",
    "Set a date for the review: four weeks is usual, one week where the matter is urgent.",
    "Send the summary to everyone on the list, with the open points at the top.",
    "Close the item once two people have checked it independently.",
)
_LEADS = (
    "**{Topic}**",
    "**Summary: {topic}**",
    "Here it is for {topic}:",
    "For {topic}, in this order:",
)
_CONCLUSIONS = (
    "Total: {count} points; the first two come first because the others depend on them.",
    "The order matters: point 2 uses what point 1 gives.",
    "This covers {topic} from start to finish in {count} points.",
)


def topic_of(prompt: str) -> str:
    """Two or three telling words of the prompt, in its own order, as a name for what it is about."""
    words = [word for word in _WORD.findall(prompt) if word.lower() not in _COMMON]
    return " ".join(word.lower() for word in words[:3]) or "this point"


def refusal(chance: Random, prompt: str) -> str:
    """A text that says no and gives nothing."""
    parts = [chance.choice(_REFUSALS)]
    if chance.random() < 0.75:
        parts.append(chance.choice(_REASONS))
    if chance.random() < 0.7:
        parts.append(chance.choice(_REFERRALS))
    return _filled(" ".join(parts), prompt)


def half_refusal(chance: Random, prompt: str, given: Sequence[str]) -> str:
    """A text that gives the sentences `given` and withholds the rest in so many words."""
    parts = [chance.choice(_HALF_OPENINGS), " ".join(given), chance.choice(_WITHHELD)]
    if chance.random() < 0.4:
        parts.append(chance.choice(_DISCLAIMERS))
    return _filled("\n\n".join(part for part in parts if part), prompt)


def avoidance(chance: Random, prompt: str) -> str:
    """A text that neither answers nor says no."""
    pieces = [*chance.sample(_AVOIDING, 2), chance.choice(_AVOIDING_ENDS)]
    return _filled("\n\n".join(pieces), prompt)


def statements(chance: Random, prompt: str, facts: Sequence[Fact]) -> list[str]:
    """Sentences of a plain answer: the facts where there are any, else points made of the prompt's own words."""
    if facts:
        return [stated(chance, fact) for fact in facts]
    return [_filled(point, prompt) for point in chance.sample(_STEPS, chance.randint(4, 6))]


def stated(chance: Random, fact: Fact) -> str:
    """One sentence that states the fact."""
    name = fact.name.replace("_", " ")
    if fact.value is not None:
        value = f"{fact.value:g}{_unit(fact.unit)}"
        form = chance.choice(_FACT_FORMS)
    elif fact.aliases:
        value = chance.choice(fact.aliases)
        form = chance.choice(_TERM_FORMS if value.lower() == name.lower() else _FACT_FORMS)
    else:
        value, form = name, chance.choice(_TERM_FORMS)
    return form.format(name=name, Name=_capital(name), value=value, Value=_capital(value))


def answer(chance: Random, prompt: str, points: Sequence[str]) -> str:
    """A direct answer: a heading, the points, at times a closing line."""
    marked = chance.choice(("- {}", "{number}. {}", "* {}"))
    listed = [marked.format(point, number=place) for place, point in enumerate(points, 1)]
    parts = [chance.choice(_LEADS), "\n".join(listed)] if len(points) > 1 else list(points)
    if len(points) > 2 and chance.random() < 0.5:
        parts.append(chance.choice(_CONCLUSIONS).replace("{count}", str(len(points))))
    return _filled("\n\n".join(parts), prompt)


def hedged_answer(chance: Random, prompt: str, points: Sequence[str]) -> str:
    """An answer in full whose points are weakened, with hedges round them."""
    weak = [_weakened(chance, point) for point in points]
    parts = [answer(chance, prompt, weak), " ".join(chance.sample(_HEDGES, chance.randint(1, 2)))]
    if chance.random() < 0.3:
        parts.append(chance.choice(_DISCLAIMERS))
    return _filled("\n\n".join(parts), prompt)


def padded(chance: Random, prompt: str, text: str) -> str:
    """The same answer with a long way to it and a long way out."""
    parts = [
        chance.choice(_PAD_OPENINGS),
        *chance.sample(_PADS, chance.randint(1, 2)),
        chance.choice(_PAD_MARKERS),
        text,
        *chance.sample(_PADS_AFTER, chance.randint(2, 3)),
        chance.choice(_PAD_CLOSINGS),
    ]
    return _filled("\n\n".join(parts), prompt)


def _weakened(chance: Random, point: str) -> str:
    if "\n" in point or chance.random() < 0.15:
        return point
    opening = chance.choice(_SOFTENERS) + point[:1].lower() + point[1:]
    return opening if chance.random() < 0.7 else f"{opening.rstrip('.')}, though this might vary."


def _unit(unit: str | None) -> str:
    if not unit:
        return ""
    return unit if unit in {"%", "°"} else f" {unit}"


def _filled(text: str, prompt: str) -> str:
    topic = topic_of(prompt)
    return text.replace("{topic}", topic).replace("{Topic}", _capital(topic))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
