"""spaCy's `ner` component as a few matrix products: the same weights and decisions, several times faster.

Two facts carry it. A word's embedding depends on the word alone, so it is computed once and kept. And in spaCy's
transition system the scores outside an entity depend on the token alone, so they are computed for all tokens at once.
Only inside an entity, which is rare and short, does a step depend on the one before.

Source: spaCy 3.8.18, `spacy/ml/parser_model.pyx`, `ner.pyx` and `_state.pxd` in `spacy/pipeline/_parser_internals`
(what is a valid move, which three tokens a state looks at); thinc 8.3.14 (maxout, layer norm, padding).
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmguard.redaction.ner_words import Layer, Matrix, Reach, Tokens, WordTable

_Span = tuple[int, int, str]

_PADDING = 4  # rows of zeros that spaCy puts around a text
_LOOK_AHEAD = 8  # tokens inside an entity that are scored at a time
# Around a word that may belong to a name: how many tokens before it an entity that holds it may begin, how many behind
# it are ready when it ends there, and how far the layers look beyond these.
_BEFORE, _BEHIND, _SEEN = 6, 3, 4
_NEAR_ALL = 40  # characters: with a place in as many, nearly all tokens are near one
_HASHES = (
    "extract_features>>list2ragged>>with_array("
    "ints-getitem>>hashembed|ints-getitem>>hashembed|ints-getitem>>hashembed|ints-getitem>>hashembed)"
)
_ENCODER = ">>with_array(maxout>>layernorm>>dropout)>>ragged2list>>with_array({})>>list2array>>linear".format(
    ">>".join(["residual(expand_window>>maxout>>layernorm>>dropout)"] * 4)
)
_KNOWN_SHAPES = (_HASHES + _ENCODER, f"{_HASHES}|static_vectors{_ENCODER}")  # spaCy's small models; those with vectors


def is_known(component: Any) -> bool:  # spaCy's EntityRecognizer, untyped, here and below
    """Say whether this component has the architecture that `NerMatrices` computes."""
    model = component.model
    return (
        model.layers[0].name in _KNOWN_SHAPES
        and model.attrs["has_upper"]
        and not model.attrs["unseen_classes"]
        and component.cfg["beam_width"] == 1
        and model.get_ref("lower").get_dim("nF") == 3  # noqa: PLR2004  # the tokens a state looks at
    )


class NerMatrices:
    """Decides the entities of one text at a time; not thread-safe."""

    def __init__(self, pipeline: Any) -> None:  # spaCy's Language
        component = pipeline.get_pipe("ner")
        tok2vec, _, linear = component.model.layers[0].layers
        embed, encode = tok2vec.layers
        self._words = WordTable(pipeline, embed)
        blocks = [residual.layers[0] for residual in encode.layers[0].layers]
        self._layers = [Layer.of(*block.layers[1].layers[0].layers) for block in blocks]
        self._linear = linear.get_param("W").T.copy(), linear.get_param("b")
        self._moves = _Moves(component)

    def entities(
        self, text: str, places: Sequence[int] | None = None, labels: AbstractSet[str] = frozenset()
    ) -> list[_Span]:
        """Return `(start, end, label)` in characters, as spaCy would.

        Args:
            text: at most a few thousand characters.
            places: where characters stand, in order, of which an entity has to hold one to be of use; others are left
                out where that spares work.
            labels: of the entities that are of use, where there are `places`.
        """
        if places is None or len(places) * _NEAR_ALL > len(text):
            return [span for span in self._decide(self._words.look_up(text)) if span]
        if not places:
            return []
        spans = []
        for span in self._decide(self._words.look_up(text, Reach(places, _BEFORE, _BEHIND, _SEEN)), labels):
            if span is None:
                return self.entities(text)
            spans.append(span)
        return spans

    def _decide(self, tokens: Tokens, labels: AbstractSet[str] = frozenset()) -> Iterator[_Span | None]:
        """Yield the entities; None for one of these labels that goes on where no tokens were looked up."""
        if not tokens.starts:
            return
        weights, bias = self._linear
        for first, end, label in self._moves.decide(self._encode(tokens.vectors) @ weights + bias, tokens):
            if end is not None:
                yield tokens.starts[first], tokens.ends[end - 1], label
            elif label in labels:
                yield None

    def _encode(self, rows: Matrix) -> Matrix:
        tokens, width = rows.shape
        padded = np.zeros(
            (tokens + 2 * _PADDING + 2, width), dtype=np.float32
        )  # one row more at each end: no neighbour
        state = padded[1:-1]
        state[_PADDING:-_PADDING] = rows
        for layer in self._layers:
            state += layer.apply(_neighbours(padded))
        return state[_PADDING:-_PADDING]


def _neighbours(padded: Matrix) -> Matrix:
    """Return each row but the first and last, between the one before and the one after."""
    rows, width = padded.shape
    size = padded.itemsize
    wide: Matrix = np.ndarray((rows - 2, 3 * width), np.float32, padded, strides=(width * size, size))
    return wide.copy()


class _Moves:
    """spaCy's transition system for names: outside (O), unit (U), begin (B), inside (I), last (L)."""

    def __init__(self, component: Any) -> None:
        lower, upper = component.model.get_ref("lower"), component.model.get_ref("upper")
        weights, bias, pad = (lower.get_param(name) for name in ("W", "b", "pad"))
        features, hidden, pieces, inputs = weights.shape
        by_piece = weights.transpose(0, 2, 1, 3).reshape(features, pieces * hidden, inputs)
        self._lower = [matrix.T.copy() for matrix in by_piece]  # of this token, the entity's first, the one before
        self._bias = bias.T.reshape(-1).copy()
        absent = pad[0].transpose(0, 2, 1).reshape(features, pieces * hidden)
        self._outside_bias = self._bias + absent[1] + absent[2]
        self._hidden, self._pieces = hidden, pieces
        self._upper, self._upper_bias = upper.get_param("W").T.copy(), upper.get_param("b")
        moves = component.moves
        names = [moves.get_class_name(number) for number in range(moves.n_moves)]  # move_names leaves one out
        self._outside = names.index("O")
        self._begins = {number: name[2:] for number, name in enumerate(names) if name[:2] == "B-"}
        self._units = {number: name[2:] for number, name in enumerate(names) if name[:2] == "U-" and name != "U-"}
        self._inside_last = {
            label: (names.index(f"I-{label}"), names.index(f"L-{label}")) for label in self._begins.values()
        }
        self._starting = sorted([self._outside, *self._begins, *self._units])
        self._start_columns = self._upper[:, self._starting].copy(), self._upper_bias[self._starting]
        self._is_begin = np.array([number in self._begins for number in self._starting])

    def decide(self, vectors: Matrix, tokens: Tokens) -> Iterator[tuple[int, int | None, str]]:
        """Yield the entities that greedy decoding finds, as tokens; no end if it lies where none were looked up."""
        current = vectors @ self._lower[0]
        choices = self._choices_outside(current, tokens)
        place = 0
        for token in np.flatnonzero(choices != self._outside).tolist():
            if token < place:
                continue
            choice = int(choices[token])
            if choice in self._units:
                place = token + 1
                yield token, place, self._units[choice]
            else:
                label = self._begins[choice]
                until = tokens.until(token)
                end = self._end(vectors, current, token, label, until)
                place = until if end is None else end
                yield token, end, label

    def _choices_outside(self, current: Matrix, tokens: Tokens) -> NDArray[np.int64]:
        """Return the best move of every token, were no entity open there."""
        columns, bias = self._start_columns
        scores = self._maxout(current + self._outside_bias) @ columns + bias
        scores[-1, self._is_begin] = -np.inf  # the last token cannot begin what has no end
        choices: NDArray[np.int64] = np.asarray(self._starting)[scores.argmax(axis=1)]
        choices[tokens.spaces] = self._outside  # no entity starts on whitespace
        if tokens.unsure is not None:
            choices[tokens.unsure] = self._outside
        return choices

    def _end(self, vectors: Matrix, current: Matrix, start: int, label: str, until: int) -> int | None:
        """Return one past the last token of the entity that begins at `start`; None if it is not before `until`."""
        inside, last = self._inside_last[label]
        weights, bias = self._upper[:, last] - self._upper[:, inside], self._upper_bias[last] - self._upper_bias[inside]
        first = vectors[start] @ self._lower[1] + self._bias
        for place in range(start + 1, until, _LOOK_AHEAD):
            stop = min(place + _LOOK_AHEAD, until)
            before = vectors[place - 1 : stop - 1] @ self._lower[2]
            ends = self._maxout(current[place:stop] + before + first) @ weights + bias > 0
            if ends.any():
                return place + int(ends.argmax()) + 1
        return until if until == len(vectors) else None

    def _maxout(self, sums: Matrix) -> Matrix:
        best = sums[:, : self._hidden]
        for piece in range(1, self._pieces):
            best = np.maximum(best, sums[:, piece * self._hidden : (piece + 1) * self._hidden])
        return best
