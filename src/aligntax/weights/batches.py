"""Texts as batches of tokens, and a model's own answers to prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..errors import InputError
from .linears import quiet


def texts_of(tokenizer: Any, rows: Iterable[dict[str, Any]], *, chat: bool | None = None) -> list[str]:
    """What the model reads for each row: prompt and completion, in the tokenizer's chat template.

    `rows` have "prompt" and may have "completion" (or "answer"). `chat`: in turns of the template, or joined by a
    space without it; None takes the template where the tokenizer has one. Raises InputError where it is asked for
    and there is none.
    """
    template = bool(getattr(tokenizer, "chat_template", None))
    if chat and not template:
        raise InputError("the tokenizer has no chat template", remedy="say --no-chat")
    if chat is False or not template:
        return [" ".join(part for part in (row["prompt"], _completion(row)) if part) for row in rows]
    return [_turns(tokenizer, row["prompt"], _completion(row)) for row in rows]


def _completion(row: dict[str, Any]) -> str:
    said = row.get("completion", row.get("answer", ""))
    return said if isinstance(said, str) else ""


def _turns(tokenizer: Any, prompt: str, completion: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    if completion:
        messages.append({"role": "assistant", "content": completion})
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not completion)


def batches_of(
    tokenizer: Any, texts: Sequence[str], *, max_tokens: int = 512, batch_size: int = 8, special: bool = False
) -> Iterator[dict[str, Any]]:
    """Batches of {"input_ids", "attention_mask"}, [texts, tokens] each, in the order of the texts.

    A text is cut after `max_tokens` tokens. `special`: add the tokenizer's own start tokens, which a chat template
    has already written. Raises InputError where a size is not positive or no text is given.
    """
    if max_tokens < 1 or batch_size < 1 or not texts:
        raise InputError("no tokens to read", remedy="give texts, and sizes of at least 1")
    for start in range(0, len(texts), batch_size):
        coded = tokenizer(
            list(texts[start : start + batch_size]), return_tensors="pt", padding=True, truncation=True,
            max_length=max_tokens, add_special_tokens=special,
        )  # fmt: skip
        yield {"input_ids": coded["input_ids"], "attention_mask": coded["attention_mask"]}


def own_answers(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, max_new_tokens: int = 128, batch_size: int = 8
) -> Iterator[dict[str, str]]:
    """Rows {"prompt", "completion"} in which the model itself answers, greedily: general data as NSPO has it.

    The tokenizer must pad on the left, as `load_tokenizer` makes it. Ref: arXiv:2512.11391.
    """
    asked = texts_of(tokenizer, [{"prompt": prompt} for prompt in prompts])
    special = not getattr(tokenizer, "chat_template", None)  # a template writes the start token itself
    for start in range(0, len(asked), batch_size):
        coded = tokenizer(
            asked[start : start + batch_size], return_tensors="pt", padding=True, add_special_tokens=special
        )
        width = coded["input_ids"].shape[1]
        with quiet(model):
            tokens = model.generate(
                input_ids=coded["input_ids"].to(model.device),
                attention_mask=coded["attention_mask"].to(model.device),
                max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        said = tokenizer.batch_decode(tokens[:, width:], skip_special_tokens=True)
        for prompt, completion in zip(prompts[start : start + batch_size], said, strict=True):
            yield {"prompt": prompt, "completion": completion}


__all__ = ["batches_of", "own_answers", "texts_of"]
