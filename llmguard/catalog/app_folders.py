"""Apps as folders for git, and back: `app.yaml` with the entry, `presets.yaml` for the reader, `manifest.json`.

The same entry gives the same bytes. Applying a folder changes the lines of those settings of the app that differ, and
no other line of registry.yaml, comments included; applying it again changes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ryaml
from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from llmguard.registry.app_entries import AppEntry

APP_FILE: Final = "app.yaml"
PRESETS_FILE: Final = "presets.yaml"
MANIFEST: Final = "manifest.json"
_FIELDS: Final = tuple(AppEntry.model_fields)
_dumps = ryaml.dumps  # type: ignore[attr-defined]  # ryaml re-exports it without saying so to type checkers
_loads = ryaml.loads  # type: ignore[attr-defined]  # as above


class FolderInvalid(Exception):
    """A folder holds no app, or a registry has no place for one; the message says why."""


def app_folder(content: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return the files of an app's folder by name.

    Args:
        content: a registry as it was parsed.
        name: of an app that is in it.
    """
    row = content["apps"][name]
    wanted = {reference for reference in row.get("presets") or () if isinstance(reference, str)}
    presets = [
        preset
        for preset in content.get("presets") or ()
        if preset["name"] in wanted or f"{preset['name']}@{preset['version']}" in wanted
    ]
    files = {APP_FILE: _dumps({name: in_order(row)}).encode(), PRESETS_FILE: _dumps(presets).encode()}
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in sorted(files.items())}
    manifest = json.dumps({"app": name, "sha256": digests}, indent=2, sort_keys=True) + "\n"
    return files | {MANIFEST: manifest.encode()}


def read_folder(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name and the entry of the app in a folder.

    Raises:
        FolderInvalid: there is none.
    """
    file = folder / APP_FILE
    try:
        content = _loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:  # UnicodeDecodeError and InvalidYamlError are ValueErrors
        raise FolderInvalid(f"{file} cannot be read: {type(error).__name__}.") from None
    if not isinstance(content, dict) or len(content) != 1 or not isinstance(next(iter(content.values())), dict):
        raise FolderInvalid(f"{file} is one name with the settings of an app below it, as `apps export` writes it.")
    [(name, row)] = content.items()
    return str(name), row


def with_app(text: str, name: str, row: Mapping[str, Any]) -> str:
    """Return the text of a registry with an app as it is given; the same text if it is so already.

    Raises:
        FolderInvalid: `apps` is not written in lines, so that no line is the app's alone.
    """
    content = _loads(text)
    apps = content.get("apps") if isinstance(content, dict) else None
    if isinstance(apps, dict) and apps.get(name) == dict(row):
        return text
    section = _section(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    keys = {str(key.value): (key, value) for key, value in section.value}
    indent = section.value[0][0].start_mark.column if section.value else 2
    block = _lines({name: in_order(row)}, indent)
    if name in keys:
        key, value = keys[name]
        if isinstance(value, MappingNode) and value.value and not value.flow_style:
            _change_fields(lines, value, apps[name] if isinstance(apps, dict) else {}, row)
        else:
            lines[key.start_mark.line : _last_line(value) + 1] = block
    elif keys:
        end = _last_line(section.value[-1][1]) + 1
        lines[end:end] = ["\n", *block]
    else:
        line = section.start_mark.line
        lines[line] = lines[line].replace("{}", "").rstrip() + "\n"
        lines[line + 1 : line + 1] = block
    return "".join(lines)


def _change_fields(lines: list[str], node: MappingNode, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Change the lines of the settings that differ, from the last to the first, so that numbers of lines hold."""
    indent, end = node.value[0][0].start_mark.column, _last_line(node) + 1
    added = {field: value for field, value in in_order(after).items() if field not in before}
    lines[end:end] = _lines(added, indent) if added else []
    for key, value in reversed(node.value):
        field = str(key.value)
        if field in after and after[field] == before.get(field):
            continue
        flow = isinstance(value, CollectionNode) and bool(value.flow_style)
        new = _lines({field: after[field]}, indent, flow=flow) if field in after else []
        lines[key.start_mark.line : _last_line(value) + 1] = new


def _lines(content: Mapping[str, Any], indent: int, *, flow: bool = False) -> list[str]:
    if flow:
        written = [f"{field}: {_flow(value)}" for field, value in content.items()]
    else:
        written = _dumps(dict(content)).rstrip().split("\n")
    return [f"{' ' * indent}{line}\n" if line else "\n" for line in written]


def _flow(value: Any) -> str:  # Any: a value of registry.yaml
    """Return a value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flow(name)}: {_flow(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    text: str = _dumps(value).strip()
    return json.dumps(value, ensure_ascii=False) if any(mark in text for mark in ",[]{}\n") else text


def in_order(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry in the order in which registry.yaml is documented."""
    known = {field: row[field] for field in _FIELDS if field in row}
    return known | {field: value for field, value in sorted(row.items()) if field not in known}


def _section(text: str) -> MappingNode:
    root = YAML().compose(text)
    pairs = root.value if isinstance(root, MappingNode) else ()
    node = next((value for key, value in pairs if key.value == "apps"), None)
    if not isinstance(node, MappingNode) or (node.flow_style and node.value):
        raise FolderInvalid(
            "`apps` in the registry is not written with an app a line: write `apps:` and go on below it."
        )
    return node


def _last_line(node: Node) -> int:
    """Return the line, from 0, on which a node's content ends; comments behind it are not its own."""
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        end = node.end_mark
        return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)
