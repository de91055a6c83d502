"""A regex that finds the longest of many phrases in one pass, without trying them one after another."""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes

import re
from typing import TypeAlias

Node: TypeAlias = "dict[str, Node]"  # character -> node; the key "" marks the end of a phrase


def phrase_regex(phrases: tuple[str, ...]) -> str:
    """Return a regex source for any of the phrases; a space in a phrase matches nothing or one of ` _.-/'`."""
    root: Node = {}
    for phrase in phrases:
        node = root
        for character in phrase:
            node = node.setdefault(character, {})
        node[""] = {}
    return _source(root)


def _source(node: Node) -> str:
    branches = []
    for character, child in sorted(node.items(), reverse=True):  # the optional space last: it may match nothing
        if character:
            edge = r"[ _.\-/'’]?" if character == " " else re.escape(character)
            branches.append(edge + _source(child))
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and "" not in node else "(?:" + "|".join(branches) + ")"
    return joined + "?" if "" in node else joined
