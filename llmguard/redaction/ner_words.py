"""A text as spaCy's tokens and their embeddings, each word form worked out once.

spaCy cuts a text at whitespace and then looks at each piece alone; a token's embedding depends on the token alone. So
both are kept by piece. Most pieces never seen before have the form of one that was (a word and a comma): they are cut
as that one was, and embedded here, which costs a tenth of having spaCy do it. What is kept are bare words without their
place or text, bounded in number and never written.

Source: spaCy 3.8.18, `Tokenizer._tokenize_affixes` (pieces, and which space belongs to the word before it),
`punctuation.py` (what rules of affixes look at), `lex_attrs.word_shape`; thinc 8.3.14, `hashembed.forward`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy import attrs
from spacy.strings import get_string_id

Matrix = NDArray[np.float32]

_KEPT_WORDS = 20_000  # times 96 floats of 4 bytes: 8 MB, and 5 MB for what finds them
_KEPT_FORMS = 10_000
_LONGEST_KEPT = 64  # characters; longer pieces are rarely words, and never come twice
_WHITESPACE = re.compile(r"(\s+)")
_EPSILON = np.float32(1e-8)  # Source: thinc 8.3.14, layernorm._get_moments
_HASHED = "extract_features>>list2ragged>>with_array("  # spaCy's MultiHashEmbed without vectors
_LOOKED_AT = ("NORM", "PREFIX", "SUFFIX", "SHAPE")

# spaCy's rules for pieces look at classes of ASCII characters, but for words of their own, units behind a digit, and
# addresses on the web, which have a full stop inside.
_SHAPELY = re.compile(r"(?!.*(?:[A-Za-z]\d|\d[A-Za-z]|\.[A-Za-z\d]))[!-~]{1,64}")
_ELEMENT = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]")
_RUN = re.compile(r"[A-Za-z]+|\d+")
_LONG_RUN = re.compile(r"[A-Za-z]{3,}|\d{3,}")  # shorter ones have rules of their own, such as `US$` and `8)`
_REPEATED = re.compile(r"(.)\1{4,}")
_SHAPE = str.maketrans({code: "X" if chr(code).isupper() else "x" if chr(code).isalpha() else "d" for code in
                        map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")})  # fmt: skip

_Token = tuple[int, int, int]  # start and end in the piece, row
_Known = int | tuple[_Token, ...]  # of a piece that is one token, its row alone: a third of the memory
_Features = tuple[int, ...]  # ids of norm, prefix, suffix and shape


@dataclass(frozen=True, slots=True)
class Reach:
    """What of a text is looked up: the words at some characters, and tokens around each.

    Attributes:
        places: the characters, in order, at least one.
        before: tokens before each of these whose surroundings are complete.
        behind: tokens behind it.
        seen: tokens before and behind all of these, which are their surroundings.
    """

    places: Sequence[int]
    before: int
    behind: int
    seen: int

    def around(self, starts: Sequence[int], *, seen: int) -> list[tuple[int, int]]:
        """Return which of the parts that start at these characters are within reach of a place, and so many more.

        Each run of them is its first, and one past its last.
        """
        runs: list[tuple[int, int]] = []
        first = end = -1
        for place in self.places:
            own = bisect_right(starts, place) - 1
            begin = max(own - self.before - seen, 0)
            if begin > end:  # of the first place, too
                runs.append((first, end))
                first = begin
            end = min(own + self.behind + seen + 1, len(starts))
        return [*runs[1:], (first, end)]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, or those within reach of some of its characters.

    Attributes:
        starts: in characters.
        ends: in characters, one past the last.
        vectors: one row each.
        spaces: which are whitespace.
        unsure: whose surroundings are not complete; None if all are here.
    """

    starts: list[int]
    ends: list[int]
    vectors: Matrix
    spaces: NDArray[np.bool_]
    unsure: NDArray[np.bool_] | None = None

    def until(self, token: int) -> int:
        """Return the next token after this one whose surroundings are not complete, or how many tokens there are."""
        if self.unsure is None:
            return len(self.starts)
        rest = self.unsure[token:]
        return token + int(rest.argmax()) if rest.any() else len(self.starts)


@dataclass(frozen=True, slots=True)
class Layer:
    """maxout, then layer norm; the pieces of maxout lie side by side, which numpy compares faster."""

    weights: Matrix
    bias: Matrix
    pieces: int
    gain: Matrix
    shift: Matrix

    @classmethod
    def of(cls, maxout: Any, norm: Any) -> "Layer":  # thinc's Models, untyped
        """Take the weights of two layers of thinc."""
        weights, bias = maxout.get_param("W"), maxout.get_param("b")
        outputs, pieces, inputs = weights.shape
        return cls(
            weights.transpose(1, 0, 2).reshape(pieces * outputs, inputs).T.copy(),
            bias.T.reshape(-1).copy(),
            pieces,
            norm.get_param("G"),
            norm.get_param("b"),
        )

    def apply(self, wide: Matrix) -> Matrix:
        """Return one row for each row."""
        product: Matrix = wide @ self.weights
        product += self.bias
        width = product.shape[1] // self.pieces
        best: Matrix = product[:, :width]
        for piece in range(1, self.pieces):
            np.maximum(best, product[:, piece * width : (piece + 1) * width], out=best)
        best = best - np.add.reduce(best, axis=1, keepdims=True) / width
        best /= np.sqrt(np.einsum("ij,ij->i", best, best) / width + _EPSILON)[:, None]
        best *= self.gain
        best += self.shift
        return best


class _HashEmbedding:
    """Embeds words by the hashes of what they look like: the same numbers as thinc, without its ceremony."""

    def __init__(self, embed: Any) -> None:  # thinc's Model, untyped
        tables = [column.layers[1] for column in embed.layers[2].layers[0].layers]
        self._tables = [(table.get_param("E"), table.attrs["seed"]) for table in tables]
        self._hash = embed.layers[2].ops.hash
        self._mixture = Layer.of(*embed.layers[3].layers[0].layers[0].layers)

    @classmethod
    def of(cls, embed: Any) -> "_HashEmbedding | None":
        """Return it for layers that look at the four features alone, else None: then spaCy has to do it."""
        features = embed.layers[0].attrs.get("columns") if embed.name.startswith(_HASHED) else None
        return cls(embed) if features == list(_LOOKED_AT) else None

    def __call__(self, features: list[_Features]) -> Matrix:
        ids = np.array(features, dtype=np.uint64)
        columns = []
        for place, (table, seed) in enumerate(self._tables):
            keys = self._hash(np.ascontiguousarray(ids[:, place]), seed) % len(table)
            columns.append(table[keys].sum(axis=1))
        return self._mixture.apply(np.concatenate(columns, axis=1))


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
        self._tokenizer, self._vocab = pipeline.tokenizer, pipeline.vocab
        self._kept_words = kept_words
        self._embed_doc = embed.predict
        self._embedding = _HashEmbedding.of(embed)
        width = self._embed_doc([pipeline.make_doc("a")])[0].shape[1]
        self._rows = np.empty((kept_words, width), dtype=np.float32)
        self._is_space = np.zeros(kept_words, dtype=bool)
        self._row_of: dict[
            tuple[str | int, int], int
        ] = {}  # by word (a long one's id) and norm, which the tokenizer's exceptions may give
        self._plain_row_of: dict[str, int] = {}  # of words with the norm that they have everywhere
        self._used_rows = 0
        self._tokens_of: dict[str, _Known] = {}
        self._fresh: list[_Features] = []  # of the newest rows, which are to be embedded
        self._cuts_of: dict[str, tuple[int, ...] | None] = {}  # by form: where tokens end, in elements
        self._exceptions = frozenset(run.lower() for rule in pipeline.tokenizer.rules for run in _RUN.findall(rule))
        self._norm = pipeline.vocab.lex_attr_getters[attrs.NORM]

    def look_up(self, text: str, reach: Reach | None = None) -> Tokens:
        """Return the tokens of a text of at most a few thousand characters, or those within reach."""
        pieces = list(_pieces(text))
        if reach:
            runs = reach.around([offset for offset, _ in pieces], seen=reach.seen)
            if runs == [(0, len(pieces))]:
                reach = None
            else:
                pieces = [piece for first, end in runs for piece in pieces[first:end]]
        tokens_of = self._known({piece for _, piece in pieces})
        starts, ends, rows = [], [], []
        for offset, piece in pieces:
            known = tokens_of[piece]
            if isinstance(known, int):
                starts.append(offset)
                ends.append(offset + len(piece))
                rows.append(known)
                continue
            for start, end, row in known:
                starts.append(offset + start)
                ends.append(offset + end)
                rows.append(row)
        if reach is None:
            return Tokens(starts, ends, self._rows[rows], self._is_space[rows])
        runs = reach.around(starts, seen=reach.seen)
        unsure = np.ones(len(rows), dtype=np.bool_)
        for first, end in reach.around(starts, seen=0):
            unsure[first:end] = False
        starts, ends, rows = ([one for first, end in runs for one in all_[first:end]] for all_ in (starts, ends, rows))
        unsure = np.concatenate([unsure[first:end] for first, end in runs])
        return Tokens(starts, ends, self._rows[rows], self._is_space[rows], unsure)

    def _known(self, pieces: set[str]) -> Mapping[str, _Known]:
        """Return the tokens of each piece, after learning those that are new."""
        missing = {piece for piece in pieces if piece not in self._tokens_of}  # `-` would walk all that are known
        if not missing:
            return self._tokens_of
        most_tokens = sum(map(len, missing)) + 1  # the line break between words is one
        if max(self._used_rows + most_tokens, len(self._tokens_of) + len(missing)) > self._kept_words:
            self._forget()
            missing = pieces
        try:
            learnt = self._learn(missing)
        except BaseException:  # such as of half a surrogate pair: there are rows now that nothing was written into
            self._forget()
            raise
        self._tokens_of.update(
            (piece, tokens[0][2] if len(tokens) == 1 else tokens)
            for piece, tokens in learnt.items()
            if len(piece) <= _LONGEST_KEPT
        )
        return {piece: learnt[piece] if piece in learnt else self._tokens_of[piece] for piece in pieces}

    def _forget(self) -> None:
        self._row_of.clear()
        self._plain_row_of.clear()
        self._tokens_of.clear()
        self._fresh.clear()
        self._used_rows = 0

    def _learn(self, pieces: Iterable[str]) -> dict[str, tuple[_Token, ...]]:
        learnt: dict[str, tuple[_Token, ...]] = {}
        words, blanks = [], []
        forms: dict[str, str] = {}  # of pieces whose form is new, the first of each
        for piece in pieces:
            if piece[0].isspace():
                blanks.append(piece)
                continue
            form = self._form(piece)
            cuts = self._cuts_of.get(form) if form else None
            if cuts:
                learnt[piece] = self._cut(piece, cuts)
            else:
                words.append(piece)
                if form and form not in self._cuts_of:
                    forms.setdefault(form, piece)
        if words or blanks:
            with self._vocab.memory_zone():  # spaCy gives back the memory of the words at its end
                if words:
                    learnt.update(self._learn_document(words, "\n".join(words)))  # with blanks, `):` and `(` mix
                for blank in blanks:
                    learnt.update(self._learn_document([blank], blank))
        self._embed_fresh()
        self._learn_forms(forms, learnt)
        return learnt

    def _form(self, piece: str) -> str | None:
        """Return what the tokenizer's rules see of a piece; None if there are rules for the very words in it."""
        if self._embedding is None or not _SHAPELY.fullmatch(piece):
            return None
        if not self._exceptions.isdisjoint(map(str.lower, _RUN.findall(piece))):
            return None
        return _LONG_RUN.sub(_masked, piece)

    def _learn_forms(self, forms: dict[str, str], learnt: dict[str, tuple[_Token, ...]]) -> None:
        """Remember how the first piece of each new form was cut; None where it was cut inside a word or number."""
        if len(self._cuts_of) + len(forms) > _KEPT_FORMS:
            self._cuts_of.clear()
        for form, piece in forms.items():
            place_of = {match.end(): place for place, match in enumerate(_ELEMENT.finditer(piece))}
            ends = [end for _, end, _ in learnt[piece]]
            is_sound = all(end in place_of for end in ends)
            self._cuts_of[form] = tuple(place_of[end] for end in ends) if is_sound else None

    def _cut(self, piece: str, cuts: tuple[int, ...]) -> tuple[_Token, ...]:
        ends = [match.end() for match in _ELEMENT.finditer(piece)]
        tokens: list[_Token] = []
        start = 0
        for cut in cuts:
            end = ends[cut]
            tokens.append((start, end, self._plain_row(piece[start:end])))
            start = end
        return tuple(tokens)

    def _plain_row(self, word: str) -> int:
        """Return the row of a word of ASCII that is not whitespace."""
        row = self._plain_row_of.get(word)
        if row is None:
            norm = get_string_id(self._norm(word))
            features = norm, get_string_id(word[0]), get_string_id(word[-3:]), get_string_id(_shape(word))
            row = self._plain_row_of[word] = self._new_row(features, is_space=False)
        return row

    def _row(self, word: str, features: _Features) -> int:
        known = word if len(word) <= _LONGEST_KEPT else get_string_id(word), features[0]
        row = self._row_of.get(known)
        if row is None:
            row = self._row_of[known] = self._new_row(features, is_space=word.isspace())
        return row

    def _new_row(self, features: _Features, *, is_space: bool) -> int:
        row = self._used_rows
        self._used_rows += 1
        self._fresh.append(features)
        self._is_space[row] = is_space
        return row

    def _embed_fresh(self) -> None:
        if self._fresh and self._embedding is not None:
            last = self._used_rows
            self._rows[last - len(self._fresh) : last] = self._embedding(self._fresh)
        self._fresh.clear()

    def _learn_document(self, pieces: list[str], text: str) -> Iterator[tuple[str, tuple[_Token, ...]]]:
        doc = self._tokenizer(text)
        facts = doc.to_array(["IDX", "LENGTH", *_LOOKED_AT]).tolist()
        first = self._used_rows
        rows = [self._row(text[start : start + length], tuple(features)) for start, length, *features in facts]
        if self._embedding is None and self._used_rows > first:
            self._rows[rows] = self._embed_doc([doc])[0]
        offset = at = 0
        for piece in pieces:
            found: list[_Token] = []
            place = 0
            while place < len(piece):
                start = facts[at][0] - offset
                place = start + facts[at][1]
                found.append((start, place, rows[at]))
                at += 1
            offset += len(piece) + 1
            at += 1  # the line end between two pieces
            yield piece, tuple(found)


def _masked(run: re.Match[str]) -> str:
    return _shape(run.group())


def _shape(word: str) -> str:
    """Return spaCy's shape of a word of ASCII of at most 64 characters."""
    if word.isalpha():
        if word.islower():
            return "xxxx"[: len(word)]
        if word[1:].islower():
            return "Xxxxx"[: len(word)]
    return _REPEATED.sub(_four, word.translate(_SHAPE))


def _four(run: re.Match[str]) -> str:
    return run.group()[:4]


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
