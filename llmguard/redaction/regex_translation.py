r"""A recognizer's regex, widened for Hyperscan over projected text: it matches wherever the regex matches, or more.

The regex is parsed with the standard library's parser and written anew with explicit byte classes over the bytes of
`projection`. What Hyperscan has no word for becomes weaker, never stronger: lookarounds vanish (at the edge one becomes
what it looks for, a negative one if that is a single character), back-references become anything, atomic groups plain.
A regex that only the `regex` module understands is not translated; its recognizer then runs on every text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from re import _constants as op  # type: ignore[attr-defined]  # the parser of `re` has no public name (3.11 to 3.13)
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from llmguard.redaction.projection import DIGIT_BYTE, OTHER_BYTE, SPACE_BYTE, WORD_BYTE, Dialect, project_character

_EVERY_BYTE = frozenset(range(0x82))
_ANYTHING = r"[\x00-\x81]*"
_LONGEST_COUNT = 48  # longer counts are not counted: they cost Hyperscan seconds to compile
_DIGITS = frozenset(range(ord("0"), ord("9") + 1))
_WORDS = _DIGITS | {byte for byte in range(0x80) if chr(byte).isalnum()} | {WORD_BYTE}
_SPACES = frozenset([*range(9, 14), *range(0x1C, 0x20), 0x20, SPACE_BYTE])  # regex and re disagree on 0x1c to 0x1f
_SURE_SPACES = _SPACES - frozenset(range(0x1C, 0x20))
_SHARED = frozenset([WORD_BYTE, DIGIT_BYTE, SPACE_BYTE, OTHER_BYTE, *b"iks"])  # stand for more than one character
_FOREIGN = frozenset([WORD_BYTE, DIGIT_BYTE, SPACE_BYTE, OTHER_BYTE, *b"iks"])  # what stands for more than ASCII
_ONLY_REGEX_MODULE = re.compile(
    r"\{[a-z]|\{\d+<|\[:\^?\w+:\]"
)  # fuzzy matching and POSIX classes: `re` reads them otherwise


class UntranslatableError(Exception):
    """This regex cannot be widened; its recognizer has to run on every text."""


@dataclass(frozen=True, slots=True)
class _Class:
    """Projected bytes of a set of characters: `some` may belong to it, `sure` belong with all they stand for."""

    some: frozenset[int]
    sure: frozenset[int]

    def __or__(self, other: "_Class") -> "_Class":
        return _Class(self.some | other.some, self.sure | other.sure)

    def negated(self) -> "_Class":
        return _Class(_EVERY_BYTE - self.sure, _EVERY_BYTE - self.some)


_NOTHING = _Class(frozenset(), frozenset())
_CATEGORIES: Mapping[Any, _Class] = {
    op.CATEGORY_DIGIT: _Class(_DIGITS, _DIGITS),
    op.CATEGORY_NOT_DIGIT: _Class(_DIGITS, _DIGITS).negated(),
    op.CATEGORY_WORD: _Class(_WORDS, _WORDS),
    op.CATEGORY_NOT_WORD: _Class(_WORDS, _WORDS).negated(),
    op.CATEGORY_SPACE: _Class(_SPACES, _SURE_SPACES),
    op.CATEGORY_NOT_SPACE: _Class(_SPACES, _SURE_SPACES).negated(),
}


@dataclass(frozen=True, slots=True)
class _Edges:
    """Whether a sequence touches the outer start and end of the whole regex: there a lookaround may take its place."""

    start: bool
    end: bool


_INNER = _Edges(start=False, end=False)


def translate(pattern: str, flags: int, *, anchored: bool = True, dialect: Dialect = "regex") -> str:
    """Return a Hyperscan regex over projected bytes that matches at least where `pattern` does.

    Args:
        pattern: a regex of the `regex` or `re` module.
        flags: its flags, with the numbers that both modules share.
        anchored: whether `^` and `$` are kept; without them it matches more.
        dialect: the module that runs the regex, and by whose classes the text is projected.

    Raises:
        UntranslatableError: the standard library's parser does not know this syntax, or reads it otherwise.
    """
    if _ONLY_REGEX_MODULE.search(pattern):
        raise UntranslatableError
    try:
        parsed = _parser.parse(pattern, flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII))
    except (re.error, OverflowError, RecursionError):
        parsed = None
    if parsed is None or parsed.state.flags & re.ASCII:
        raise UntranslatableError
    widened = _Translation(dialect, anchored=anchored).sequence(
        parsed, parsed.state.flags, _Edges(start=True, end=True)
    )
    return f"(?i:{widened})" if parsed.state.flags & re.IGNORECASE else widened


class _Translation:
    def __init__(self, dialect: Dialect, *, anchored: bool) -> None:
        self._anchored = anchored
        self._dialect = dialect

    def sequence(self, nodes: Any, flags: int, edges: _Edges) -> str:  # nodes of the untyped parser, here and below
        last = len(nodes) - 1
        return "".join(
            self._node(name, value, flags, _Edges(start=edges.start and place == 0, end=edges.end and place == last))
            for place, (name, value) in enumerate(nodes)
        )

    def _node(self, name: Any, value: Any, flags: int, edges: _Edges) -> str:
        single = _single(name, value, flags, self._dialect)
        if single is not None:
            return _write(single, flags)
        handler = self._HANDLERS.get(name)
        if handler is None:
            raise UntranslatableError
        return handler(self, (name, value), flags, edges)

    def _at(self, node: Any, flags: int, _: _Edges) -> str:
        multiline = bool(flags & re.MULTILINE)
        words = {
            op.AT_BOUNDARY: r"\b",
            op.AT_NON_BOUNDARY: r"\B",
            op.AT_BEGINNING: "(?m:^)" if multiline else r"\A",
            op.AT_BEGINNING_STRING: r"\A",
            op.AT_END: "(?m:$)" if multiline else r"(?:\n?\z)",
            op.AT_END_STRING: r"\z",
        }
        kept = self._anchored or node[1] in {op.AT_BOUNDARY, op.AT_NON_BOUNDARY}
        return words[node[1]] if kept else ""

    def _group(self, node: Any, flags: int, edges: _Edges) -> str:
        _, added, removed, nodes = node[1]
        if added & re.ASCII:
            raise UntranslatableError
        inner = flags & ~removed | added
        case = {0: "", 1: "i", -1: "-i"}[bool(inner & re.IGNORECASE) - bool(flags & re.IGNORECASE)]
        return f"(?{case}:{self.sequence(nodes, inner, edges)})"

    def _atomic(self, node: Any, flags: int, edges: _Edges) -> str:
        return f"(?:{self.sequence(node[1], flags, edges)})"

    def _branch(self, node: Any, flags: int, edges: _Edges) -> str:
        return f"(?:{'|'.join(self.sequence(nodes, flags, edges) for nodes in node[1][1])})"

    def _repeat(self, node: Any, flags: int, _: _Edges) -> str:
        least, most, nodes = node[1]
        if most == 0:
            return ""
        repeated = self.sequence(nodes, flags, _INNER)
        is_single = len(nodes) == 1 and _single(nodes[0][0], nodes[0][1], flags, self._dialect) is not None
        return f"{repeated if is_single else f'(?:{repeated})'}{_times(min(least, _LONGEST_COUNT), most)}"

    def _lookaround(self, node: Any, flags: int, edges: _Edges) -> str:
        name, (direction, nodes) = node
        at_edge = edges.start if direction < 0 else edges.end
        if not at_edge or not self._anchored:
            return ""
        if name is op.ASSERT:  # nothing comes after it, so it may as well be matched
            return f"(?:{self.sequence(nodes, flags, _Edges(start=direction < 0, end=direction > 0))})"
        single = _single(nodes[0][0], nodes[0][1], flags, self._dialect) if len(nodes) == 1 else None
        if single is None:
            return ""
        outside = r"\A" if direction < 0 else r"\z"
        return f"(?:{outside}|{_write(single.negated(), flags)})"

    def _anything(self, _node: Any, _flags: int, _edges: _Edges) -> str:
        return _ANYTHING

    def _choice(self, node: Any, flags: int, _: _Edges) -> str:
        _, yes, no = node[1]
        sides = [self.sequence(side, flags, _INNER) if side is not None else "" for side in (yes, no)]
        return f"(?:{'|'.join(sides)})"

    _HANDLERS: Mapping[Any, Callable[..., str]] = {
        op.AT: _at,
        op.SUBPATTERN: _group,
        op.ATOMIC_GROUP: _atomic,
        op.BRANCH: _branch,
        op.MAX_REPEAT: _repeat,
        op.MIN_REPEAT: _repeat,
        op.POSSESSIVE_REPEAT: _repeat,
        op.ASSERT: _lookaround,
        op.ASSERT_NOT: _lookaround,
        op.GROUPREF: _anything,
        op.GROUPREF_EXISTS: _choice,
    }


def _single(name: Any, value: Any, flags: int, dialect: Dialect) -> _Class | None:
    """Return the bytes of a node that matches exactly one character, or None if it is no such node."""
    if name is op.ANY:
        newline = frozenset() if flags & re.DOTALL else frozenset(b"\n")
        return _Class(_EVERY_BYTE - newline, _EVERY_BYTE - newline)
    if name is op.LITERAL:
        return _literal(value, flags, dialect)
    if name is op.NOT_LITERAL:
        return _literal(value, flags, dialect).negated()
    if name is op.IN:
        return _set(value, flags, dialect)
    return None


def _set(items: Iterable[tuple[Any, Any]], flags: int, dialect: Dialect) -> _Class:
    union = _NOTHING
    negate = False
    for name, value in items:
        if name is op.NEGATE:
            negate = True
        elif name is op.LITERAL:
            union |= _literal(value, flags, dialect)
        elif name is op.RANGE:
            union |= _range(value[0], value[1], flags)
        else:
            union |= _CATEGORIES[value]
    return union.negated() if negate else union


def _literal(code_point: int, flags: int, dialect: Dialect) -> _Class:
    byte = project_character(chr(code_point), dialect)
    some = _cases({byte}, flags)
    return _Class(some, some - _SHARED if code_point < 0x80 else frozenset())  # noqa: PLR2004  # beyond ASCII


def _range(first: int, last: int, flags: int) -> _Class:
    ascii_part = _cases(range(first, min(last, 0x7F) + 1), flags)
    beyond = _cases(_FOREIGN, flags) if last > 0x7F else frozenset()  # noqa: PLR2004  # last of ASCII
    return _Class(ascii_part | beyond, ascii_part - _SHARED)


def _cases(members: Iterable[int], flags: int) -> frozenset[int]:
    """Return the bytes, and with IGNORECASE the other case of each ASCII letter."""
    given = frozenset(members)
    if not flags & re.IGNORECASE:
        return given
    letters = {byte ^ 0x20 for byte in given if byte < 0x80 and chr(byte).isalpha()}  # noqa: PLR2004  # ASCII
    return given | letters


def _write(members: _Class, flags: int) -> str:
    """Return a Hyperscan class of these bytes, as short as can be: its regexes may have 16,000 characters."""
    least = min(members.some, default=0)
    if members.some in ({least}, {least, least | 0x20}) and chr(least).isalnum():
        alone = len(members.some) == 1 or flags & re.IGNORECASE
        return chr(least) if alone else f"[{chr(least)}{chr(least | 0x20)}]"
    runs: list[list[int]] = []
    for byte in sorted(members.some):
        if runs and byte == runs[-1][1] + 1:
            runs[-1][1] = byte
        else:
            runs.append([byte, byte])
    ranges = (_byte(first) if first == last else f"{_byte(first)}-{_byte(last)}" for first, last in runs)
    return f"[{''.join(ranges)}]" if runs else r"[^\x00-\xff]"


def _byte(byte: int) -> str:
    """Return a byte as it may stand in a class."""
    return chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in " _.,:;=@/'") else f"\\x{byte:02x}"


def _times(least: int, most: Any) -> str:
    """Return a quantifier, as short as can be."""
    if most > _LONGEST_COUNT:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return "?" if (least, most) == (0, 1) else f"{{{least},{most}}}"
