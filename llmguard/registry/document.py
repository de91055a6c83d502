"""The document before it is known to be right: readers that step over whatever has the wrong form.

Checks across entries work on this, so that a slip in one place hides no finding in another.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from llmguard.registry.digest import Target, preset_digest
from llmguard.registry.entries import PresetEntry, RegistryFile
from llmguard.registry.finding import Loc


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping of the document; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a list of the document; an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_texts(value: object) -> Iterator[tuple[int, str]]:
    """Yield index and text of each text in a list of the document."""
    return ((index, item) for index, item in enumerate(as_list(value)) if isinstance(item, str))


class Document:
    """One registry file as parsed, with what the checks look up again and again."""

    def __init__(self, content: object, file: RegistryFile | None) -> None:
        """Wrap the parsed YAML; `file` is given when its form is right throughout."""
        self._content = as_mapping(content)
        self._file = file

    def section(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return a section such as `apps`: each entry by its name, an empty one where its form is wrong."""
        return {str(key): as_mapping(entry) for key, entry in as_mapping(self._content.get(name)).items()}

    def value(self, name: str) -> object:
        """Return a part of the file as it stands there."""
        return self._content.get(name)

    @cached_property
    def providers(self) -> Mapping[str, Mapping[str, Any]]:
        """The providers by name."""
        return self.section("providers")

    @cached_property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The models by name."""
        return self.section("models")

    @cached_property
    def presets(self) -> list[Mapping[str, Any]]:
        """The presets in the order of the file."""
        return [as_mapping(entry) for entry in as_list(self._content.get("presets"))]

    @cached_property
    def preset_ids(self) -> dict[str, int]:
        """`name@version` of each preset, with the index of the first that has it."""
        ids: dict[str, int] = {}
        for index, preset in enumerate(self.presets):
            if (preset_id := id_of(preset)) is not None:
                ids.setdefault(preset_id, index)
        return ids

    @cached_property
    def preset_names(self) -> set[str]:
        """The names of all presets."""
        return {preset["name"] for preset in self.presets if isinstance(preset.get("name"), str)}

    @cached_property
    def sound_presets(self) -> list[tuple[int, PresetEntry]]:
        """The presets whose form is right, with their index."""
        if self._file is not None:
            return list(enumerate(self._file.presets))
        sound = []
        for index, preset in enumerate(self.presets):
            try:
                sound.append((index, PresetEntry.model_validate(preset)))
            except ValidationError:  # reported with the form of the file
                continue
        return sound

    @cached_property
    def preset_digests(self) -> dict[int, str]:
        """The digest of each preset, by index, as far as it can be told what the preset stands for."""
        return {
            index: preset_digest(preset, self.targets_of)
            for index, preset in self.sound_presets
            if all(self._is_known(model) for model in (preset.model, *preset.fallbacks))
        }

    def targets_of(self, model: str) -> list[Target]:
        """Return what a model stands for; empty words where the file does not say."""
        return [self._target(entry) for _, entry in targets_in(self.models.get(model, {}))]

    def _target(self, entry: Mapping[str, Any]) -> Target:
        provider = str(entry.get("provider", ""))
        kind = str(self.providers.get(provider, {}).get("kind", ""))
        return Target(provider, kind, str(entry.get("target", "")))

    def _is_known(self, model: str) -> bool:
        """Say whether the file tells what a model stands for."""
        targets = self.targets_of(model)
        return bool(targets) and all(target.provider and target.kind and target.target for target in targets)


def targets_in(model: Mapping[str, Any]) -> list[tuple[Loc, Mapping[str, Any]]]:
    """Return where a model answers: each place as the document has it, and where it stands below the model."""
    if "targets" not in model:
        return [((), model)]
    return [(("targets", index), as_mapping(entry)) for index, entry in enumerate(as_list(model["targets"]))]


def id_of(preset: Mapping[str, Any]) -> str | None:
    """Return `name@version` of a preset in the document; None where it does not have both."""
    name, version = preset.get("name"), preset.get("version")
    if isinstance(name, str) and isinstance(version, int) and not isinstance(version, bool):
        return f"{name}@{version}"
    return None
