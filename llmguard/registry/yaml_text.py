"""YAML twice: ryaml reads it fast (YAML 1.2), ruamel.yaml tells lines and columns once something is wrong.

300 presets: ryaml 4.5 ms, ruamel.yaml 448 ms (round trip), so the slow one is never asked about a file that is fine.
Both speak YAML 1.2, where `no` and `on` are texts and `0123` is no octal number.
"""

import re
from collections.abc import Iterator
from typing import Any

import ryaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from llmguard.registry.finding import Loc, Problem

_loads = ryaml.loads  # type: ignore[attr-defined]  # ryaml re-exports it without saying so to type checkers
_RYAML_POSITION = re.compile(r"(?:at )?line (\d+) column (\d+)")
_DEEPEST = 20  # a registry has five levels
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'")  # parts of a message that repeat the file


class NotYaml(Exception):
    """The text cannot be read as one YAML document without doubt."""


def read_yaml(text: str) -> Any:  # a document before validation is anything
    """Return the document as Python values: dates stay texts, numbers are int or float.

    Raises:
        NotYaml: syntax errors, several documents, duplicate keys, unknown or endless anchors.
    """
    try:
        return _loads(text)
    except ValueError as error:  # InvalidYamlError is one; keys that cannot be hashed raise a plain one
        raise NotYaml(str(error)) from None


def lay_out(text: str) -> "Layout | Problem":
    """Return where each part of the text stands, or why it is not YAML."""
    try:
        return Layout(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return _not_yaml(said, (mark.line + 1, mark.column + 1) if mark else (1, 1))
    except ReaderError as error:
        return _not_yaml("a character that YAML does not allow", position_at(text, error.position))
    except RecursionError:
        return _not_yaml("nested too deeply", (1, 1))
    except AssertionError:  # ruamel.yaml's way to say so
        return _not_yaml("the directive %YAML asks for another version than 1.1 or 1.2", (1, 1))


def refusal_problem(complaint: NotYaml) -> Problem:
    """Return what ryaml alone refuses (numbers without end, anchors that contain themselves), without its quotes."""
    found = _RYAML_POSITION.search(str(complaint))
    place = (int(found[1]), int(found[2])) if found else (1, 1)
    return _not_yaml(_QUOTED.sub("…", _RYAML_POSITION.sub("", str(complaint))).strip(), place)


def position_at(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, from 1, of an offset in the text."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


class Layout:
    """Where each part of a YAML text stands."""

    def __init__(self, text: str) -> None:
        """Compose the text into nodes.

        Raises:
            YAMLError: the text is not YAML.
            RecursionError: it is nested too deeply.
        """
        yaml = YAML()
        yaml.composer.warn_double_anchors = False  # the warning would print lines of the file
        self._root: Node | None = yaml.compose(text)

    def position(self, loc: Loc, *, on_key: bool) -> tuple[int, int]:
        """Return line and column, from 1, of the key or value at `loc`; of its nearest parent if it is not there."""
        node, key, place = self._root, None, self._root
        for part in loc:
            step = _step(node, part)
            if step is None:
                return _mark(key or place)
            key, node = step
            place = node
        return _mark(key if on_key and key is not None else place)

    def innermost(self, position: tuple[int, int]) -> Loc:
        """Return the loc of the deepest entry around a position, from 1: where a secret stands."""
        return _innermost(self._root, (position[0] - 1, position[1] - 1), ())

    def duplicates(self) -> Iterator[Problem]:
        """Yield each key that is given again in the same mapping."""
        yield from _duplicates(self._root, (), set())

    def first_values(self) -> Any:  # a document before validation is anything
        """Return the document as `read_yaml` would, the first of duplicate keys counting."""
        return _plain(self._root, {})


def _step(node: Node | None, part: str | int) -> tuple[Node | None, Node | None] | None:
    """Return key node and value node of one part of a loc; list items have no key node."""
    if isinstance(node, MappingNode):
        wanted = str(part).casefold()  # `True` of Python is `true` in the file
        return next(((key, value) for key, value in node.value if str(key.value).casefold() == wanted), None)
    return (None, node.value[part]) if isinstance(node, SequenceNode) and isinstance(part, int) else None


def _mark(node: Node | None) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)


def _innermost(node: Node | None, position: tuple[int, int], loc: Loc) -> Loc:
    if len(loc) > _DEEPEST:  # an anchor that contains itself
        return ()
    children: list[tuple[Node, Node, Loc]] = []
    if isinstance(node, MappingNode):
        children = [(key, value, (*loc, str(key.value))) for key, value in node.value]
    elif isinstance(node, SequenceNode):
        children = [(value, value, (*loc, index)) for index, value in enumerate(node.value)]
    for first, value, child in children:
        if _before(first.start_mark) <= position < _before(value.end_mark):
            return _innermost(value, position, child)
    return loc


def _before(mark: Any) -> tuple[int, int]:  # ruamel.yaml does not type its marks
    return mark.line, mark.column


def _duplicates(node: Node | None, loc: Loc, seen: set[int]) -> Iterator[Problem]:
    if node is None or id(node) in seen:  # an alias leads back to what was looked at
        return
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, (*loc, index), seen)
    elif isinstance(node, MappingNode):
        first: dict[str, Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in first:
                earlier, again = _mark(first[name]), _mark(key)
                yield Problem(
                    (*loc, name),
                    f"'{name}' is given twice, in line {earlier[0]} and again in line {again[0]}",
                    fix="keep one of the two",
                    position=again,
                )
            first.setdefault(name, key)
            yield from _duplicates(value, (*loc, name), seen)


def _plain(node: Node | None, done: dict[int, Any]) -> Any:  # a document before validation is anything
    if node is None or id(node) in done:
        return done.get(id(node))
    done[id(node)] = None  # what an anchor finds that contains itself
    if isinstance(node, MappingNode):
        result: Any = {}
        for key, value in node.value:
            result.setdefault(_plain(key, done) if isinstance(key, ScalarNode) else str(key.tag), _plain(value, done))
    elif isinstance(node, SequenceNode):
        result = [_plain(item, done) for item in node.value]
    else:
        result = _scalar(node)
    done[id(node)] = result
    return result


def _scalar(node: Any) -> Any:  # ruamel.yaml does not type what a scalar has; YAML's rules say what it is
    if node.style is not None:
        return node.value
    try:
        return _loads(node.value)
    except ValueError:
        return node.value


def _not_yaml(said: str, position: tuple[int, int]) -> Problem:
    return Problem(
        (),
        f"this is not YAML: {said}",
        fix="check indentation, colons, quotes and brackets here and in the line above",
        position=position,
    )
