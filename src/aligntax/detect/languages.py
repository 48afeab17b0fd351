"""Which language an answer is in, from its function words; "und" where that is not clear.

English is judged in full. In the other languages of the lexicon a refusal can be found, but nobody has measured
what is missed, so there an answer without one is undetermined. A text in any other language always is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import native
from .features import Reading
from .lexicon import LANGUAGES, WORD_BITS, Lexicon
from .tokens import mix

ENGLISH = LANGUAGES.index("en")
UNKNOWN = -1

_PLAINLY = 0.24  # share of English function words that settles it; ordinary prose has 0.3 to 0.5
_SURE = 0.05  # share that a language needs at least; notes in telegram style have little more
_SHORT = 12  # words below which function words prove nothing


def identify(reading: Reading, lexicon: Lexicon) -> npt.NDArray[np.int8]:
    """Index into LANGUAGES of each row, or UNKNOWN.

    Short answers in plain ASCII ("42.", a line of code) count as English: there is nothing to tell them by.
    """
    tokens = reading.tokens
    first = tokens.row_first[:-1]
    mixed = reading.mixed if tokens.hidden is None else mix(tokens.plain)
    shown = np.maximum(reading.counts[:, 0] - reading.counts[:, 1], 1)
    shift = np.uint64(64 - WORD_BITS)
    library = native.load()
    if library is None:
        english = np.add.reduceat(lexicon.stopwords[mixed >> shift] & np.uint16(1), first, dtype=np.int64)
    else:
        english = native.count_words(library, mixed, tokens.row_first, lexicon.packed_english, WORD_BITS)
    out = np.full(len(shown), ENGLISH, np.int8)
    unclear = np.flatnonzero(english / shown < _PLAINLY)
    said = _languages_said(reading, lexicon) if len(unclear) else {}
    for row in unclear.tolist():
        mine = lexicon.stopwords[mixed[tokens.row_first[row] : tokens.row_first[row + 1]] >> shift]
        counts = ((mine[:, None] >> np.arange(len(LANGUAGES), dtype=np.uint16)) & 1).sum(axis=0)
        best = int(np.argmax(counts)) if counts.max() > counts[ENGLISH] else ENGLISH
        if counts[best] >= 2 and counts[best] / shown[row] >= _SURE:
            out[row] = best
        elif row in said:
            out[row] = said[row]
        elif not (reading.flat.ascii and shown[row] < _SHORT):
            out[row] = UNKNOWN
    return out


def _languages_said(reading: Reading, lexicon: Lexicon) -> dict[int, int]:
    """The language of the first phrase of several words found in each row: it settles what short texts leave open."""
    hits, first = reading.hits, reading.tokens.row_first
    several = np.flatnonzero(hits.last > hits.first)[::-1]
    rows = np.searchsorted(first, hits.first[several], "right") - 1
    return dict(zip(rows.tolist(), lexicon.language[hits.phrase[several]].tolist(), strict=True))
