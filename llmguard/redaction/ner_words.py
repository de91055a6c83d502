"""A text as spaCy's tokens and their embeddings, each word form worked out once.

spaCy cuts a text at whitespace and then looks at each piece alone; a token's embedding depends on the token alone. So
both are kept by piece. What is kept are bare words without their place or text, bounded in number and never written.

Source: spaCy 3.8.18, `Tokenizer._tokenize_affixes` (pieces, and which space belongs to the word before it).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEPT_WORDS = 40_000  # times 96 floats of 4 bytes: 15 MB
_LONGEST_KEPT = 64  # characters; longer pieces are rarely words, and never come twice
_WHITESPACE = re.compile(r"(\s+)")

_Token = tuple[int, int, int]  # start and end in the piece, row


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text: `starts` and `ends` in characters, one row of `vectors` each, `spaces` for whitespace."""

    starts: list[int]
    ends: list[int]
    vectors: NDArray[np.float32]
    spaces: NDArray[np.bool_]


class WordTable:
    """Knows the word forms seen so far; not thread-safe."""

    def __init__(  # spaCy's Language, thinc's Model; both untyped
        self, pipeline: Any, embed: Any, *, kept_words: int = _KEPT_WORDS
    ) -> None:
        """Take the tokenizer, and the layers that embed a word: hash embeddings, vectors if it has any, their mixture.

        Args:
            pipeline: its tokenizer is used.
            embed: computes the embedding of a word that is new.
            kept_words: how many words, and how many pieces of text, are remembered; more than a text has characters.
        """
        self._pipeline = pipeline
        self._kept_words = kept_words
        self._embed_doc = embed.predict
        width = self._embed_doc([pipeline.make_doc("a")])[0].shape[1]
        self._rows = np.empty((kept_words, width), dtype=np.float32)
        self._is_space = np.zeros(kept_words, dtype=bool)
        self._row_of: dict[tuple[int, int], int] = {}
        self._tokens_of: dict[str, tuple[_Token, ...]] = {}

    def look_up(self, text: str) -> Tokens:
        """Return the tokens of a text of at most a few thousand characters."""
        pieces = list(_pieces(text))
        tokens_of = self._known({piece for _, piece in pieces}, len(text))
        starts, ends, rows = [], [], []
        for offset, piece in pieces:
            for start, end, row in tokens_of[piece]:
                starts.append(offset + start)
                ends.append(offset + end)
                rows.append(row)
        return Tokens(starts, ends, self._rows[rows], self._is_space[rows])

    def _known(self, pieces: set[str], most_tokens: int) -> dict[str, tuple[_Token, ...]]:
        """Return the tokens of each piece, after learning those that are new."""
        missing = pieces - self._tokens_of.keys()
        if not missing:
            return self._tokens_of
        if max(len(self._row_of) + most_tokens, len(self._tokens_of) + len(missing)) > self._kept_words:
            self._row_of.clear()
            self._tokens_of.clear()
            missing = pieces
        learnt = self._learn(missing)
        self._tokens_of.update((piece, tokens) for piece, tokens in learnt.items() if len(piece) <= _LONGEST_KEPT)
        return {piece: learnt.get(piece) or self._tokens_of[piece] for piece in pieces}

    def _learn(self, pieces: Iterable[str]) -> dict[str, tuple[_Token, ...]]:
        words = [piece for piece in pieces if not piece[0].isspace()]
        learnt: dict[str, tuple[_Token, ...]] = {}
        with self._pipeline.memory_zone():  # spaCy gives back the memory of the words at its end
            if words:
                learnt.update(self._learn_document(words, " ".join(words)))
            for blank in (piece for piece in pieces if piece[0].isspace()):
                learnt.update(self._learn_document([blank], blank))
        return learnt

    def _learn_document(self, pieces: list[str], text: str) -> Iterator[tuple[str, tuple[_Token, ...]]]:
        doc = self._pipeline.make_doc(text)
        rows = self._embed(doc)
        starts, lengths = (column.tolist() for column in doc.to_array(["IDX", "LENGTH"]).astype(np.int64).T)
        offset = at = 0
        for piece in pieces:
            found: list[_Token] = []
            place = 0
            while place < len(piece):
                start = starts[at] - offset
                place = start + lengths[at]
                found.append((start, place, rows[at]))
                at += 1
            offset += len(piece) + 1
            yield piece, tuple(found)

    def _embed(self, doc: Any) -> list[int]:
        """Return the row of each token; new ones are computed by spaCy's own layers."""
        # ORTH fixes prefix, suffix and shape; the tokenizer's exceptions may give a token a NORM of its own
        features = doc.to_array(["ORTH", "NORM", "IS_SPACE"])
        forms = list(zip(features[:, 0].tolist(), features[:, 1].tolist(), strict=True))
        fresh = {form: place for place, form in enumerate(forms) if form not in self._row_of}
        if fresh:
            places = list(fresh.values())
            first = len(self._row_of)
            self._rows[first : first + len(fresh)] = self._embed_doc([doc])[0][places]
            self._is_space[first : first + len(fresh)] = features[places, 2]
            self._row_of.update(zip(fresh, range(first, first + len(fresh)), strict=True))
        return [self._row_of[form] for form in forms]


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield where spaCy's pieces start, and the pieces: words, and whitespace but for one blank after a word."""
    offset = 0
    for piece in _WHITESPACE.split(text):
        length = len(piece)
        if not length:
            continue
        if offset and piece[0] == " ":
            if length > 1:
                yield offset + 1, piece[1:]
        else:
            yield offset, piece
        offset += length
