"""Items as arrays of token ids, for the laboratory's loops, and as an ordinary fast tokenizer, for every other tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from . import words
from .world import Item, World

if TYPE_CHECKING:
    from torch import Tensor

PAD, START, END, UNKNOWN = range(4)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}</s>{% else %} {% endif %}{% endfor %}"
)
"""A prompt ends with "?" and needs no mark of its own: with and without the template the tokens are the same."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts with answers, padded on the right: a causal model needs no mask for that.

    `ids`: int64 [n, width]. `asks`: bool [n, width - 1], True where position t predicts a token of the answer (its
    end mark included) that stands at t + 1. `rows`: where each row stood in what was rendered.
    """

    ids: Tensor
    asks: Tensor
    rows: Tensor

    @property
    def targets(self) -> Tensor:
        """The answer tokens, in the order of `asks`: int64 [asked]."""
        return self.ids[:, 1:][self.asks]

    @property
    def owners(self) -> Tensor:
        """Which row of the batch each answer token belongs to: int64 [asked]."""
        return self.asks.nonzero()[:, 0]

    def to(self, device: Any) -> Batch:
        """The same batch on that device."""
        return Batch(ids=self.ids.to(device), asks=self.asks.to(device), rows=self.rows.to(device))


class Coder:
    """Words to ids and back, in the order of the world's vocabulary."""

    def __init__(self, world: World) -> None:
        self.words = world.vocabulary
        self.ids = {word: at for at, word in enumerate(self.words)}
        self.refusal = self.encode(words.REFUSAL)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Ids of words parted by spaces. Raises KeyError for a word that is not of this world."""
        return [self.ids[word] for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """The words up to the first end mark."""
        ids = list(ids)
        return " ".join(self.words[at] for at in (ids[: ids.index(END)] if END in ids else ids))

    def batches(
        self, pairs: Sequence[tuple[str, str]], *, size: int, start: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        """(prompt, answer) pairs as batches of at most `size` rows, sorted by length so that little is padded.

        `start`: words put between each prompt and its answer, as if the model had already said them; not scored.
        """
        coded = []
        for at, (prompt, answer) in enumerate(pairs):
            before = self.encode(prompt) + (self.encode(start[at]) if start else [])
            coded.append((before, [*self.encode(answer), END], at))
        coded.sort(key=lambda row: len(row[0]) + len(row[1]))  # stable: same pairs, same batches
        for first in range(0, len(coded), size):
            yield padded(coded[first : first + size])


def padded(rows: Sequence[tuple[list[int], list[int], int]]) -> Batch:
    """Rows of (what stands before, the answer with its end mark, place) as one batch."""
    import torch

    width = max(len(before) + len(answer) for before, answer, _ in rows)
    ids = torch.full((len(rows), width), PAD)
    asks = torch.zeros((len(rows), width - 1), dtype=torch.bool)
    for at, (before, answer, _) in enumerate(rows):
        total = len(before) + len(answer)
        ids[at, :total] = torch.tensor(before + answer)
        asks[at, len(before) - 1 : total - 1] = True
    return Batch(ids=ids, asks=asks, rows=torch.tensor([row[2] for row in rows]))


def pairs_of(items: Sequence[Item]) -> list[tuple[str, str]]:
    """(prompt, right answer) of each item."""
    return [(item.prompt, item.answer) for item in items]


def tokenizer_of(world: World) -> Any:
    """The world's words as a `PreTrainedTokenizerFast` with a chat template: every tool loads the saved folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: at for at, word in enumerate(world.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words.SPECIAL[UNKNOWN]))
    # words and marks apart, so that an answer may follow the "?" of its prompt with or without a space
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=words.SPECIAL[PAD],
        bos_token=words.SPECIAL[START],
        eos_token=words.SPECIAL[END],
        unk_token=words.SPECIAL[UNKNOWN],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
