"""The CoE's `profiles.yaml` and its lists: which entities are looked for, and what happens to them.

Strict: an unknown field, a wrong action or a missing list is a finding with file, place and fix, and all of them are
reported at once.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import ryaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmguard.redaction.findings import Action

PROFILES_FILE = "profiles.yaml"


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """Something that is wrong in the folder of redaction rules."""

    file: str
    path: str
    message: str
    fix: str | None = None

    def __str__(self) -> str:
        """Return it as one line, as an editor or a terminal shows it."""
        place = f"{self.file}: {self.path}: " if self.path else f"{self.file}: "
        return place + self.message + (f"; {self.fix}" if self.fix else "")


class RedactionInvalid(Exception):
    """The folder of redaction rules cannot be used; `findings` says all that is wrong with it."""

    def __init__(self, findings: Iterable[RuleFinding]) -> None:
        """Keep the findings and put them into the message, one a line."""
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


@dataclass(frozen=True, slots=True)
class Profile:
    """What one profile looks for.

    Attributes:
        name: as presets name it.
        ner: whether the language model runs (people, places).
        threshold: the least score of a finding, unless its recognizer has a threshold of its own.
        actions: by entity; what is not listed here is not looked for.
        allow: texts that are never personal data, in lower case.
        deny: by entity, texts that always are.
    """

    name: str
    ner: bool
    threshold: float
    actions: Mapping[str, Action]
    allow: frozenset[str] = frozenset()
    deny: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def sought(self) -> frozenset[str]:
        """The entities that are looked for."""
        return frozenset(entity for entity, action in self.actions.items() if action != "keep")


class _ProfileModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ner: bool = True
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.4
    entities: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], Action]
    allow: list[str] = []
    deny: dict[str, list[str]] = {}


class _ProfilesModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    profiles: Annotated[dict[str, _ProfileModel], Field(min_length=1)]


def read_list(text: str) -> tuple[str, ...]:
    """Return the entries of an allow or deny list: one a line; `#` at the start or after a space starts a comment."""
    lines = (line.split(" #", 1)[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def load_profiles(files: Mapping[str, str]) -> dict[str, Profile]:
    """Return the profiles of a folder of rules.

    Args:
        files: the folder's files by name, as text.

    Raises:
        RedactionInvalid: with everything that is wrong.
    """
    model = _parse(files)
    findings: list[RuleFinding] = []
    profiles = {name: _profile(name, one, files, findings) for name, one in model.profiles.items()}
    if findings:
        raise RedactionInvalid(findings)
    return profiles


def read_files(folder: Path) -> dict[str, str]:
    """Return every YAML file and list directly in the folder, by name.

    Raises:
        RedactionInvalid: the folder or a file in it cannot be read.
    """
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".txt"} and path.is_file())
        return {path.name: path.read_text(encoding="utf-8") for path in names}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
    raise RedactionInvalid(
        [RuleFinding(str(folder), "", f"cannot be read ({reason})", "check the path and its rights")]
    )


def parse_yaml(name: str, files: Mapping[str, str]) -> Any:  # what YAML holds is anything until it is validated
    """Return what a YAML file of the folder holds.

    Raises:
        RedactionInvalid: it is missing or no YAML.
    """
    if name not in files:
        raise RedactionInvalid([RuleFinding(name, "", "is missing", "copy it from the example folder redaction/")])
    try:
        return ryaml.loads(files[name])  # type: ignore[attr-defined]  # ryaml re-exports without saying so
    except ryaml.InvalidYamlError as error:  # type: ignore[attr-defined]  # as above
        reason = str(error)
    raise RedactionInvalid([RuleFinding(name, "", f"is not valid YAML: {reason}")])


def _parse(files: Mapping[str, str]) -> _ProfilesModel:
    try:
        return _ProfilesModel.model_validate(parse_yaml(PROFILES_FILE, files))
    except ValidationError as error:
        problems = error.errors(include_url=False)
    raise RedactionInvalid([_finding(problem) for problem in problems])


def _finding(problem: Any) -> RuleFinding:  # pydantic's ErrorDetails, whose ctx and input are of any type
    place = [str(part) for part in problem["loc"] if part != "[key]"]
    path = ".".join(place)
    match problem["type"]:
        case "extra_forbidden":
            known = _ProfileModel.model_fields if len(place) > 1 else _ProfilesModel.model_fields
            close = difflib.get_close_matches(place[-1], known, 1)
            fix = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
            return RuleFinding(PROFILES_FILE, path, f"unknown setting '{place[-1]}'", fix)
        case "missing":
            return RuleFinding(PROFILES_FILE, path, "is missing", "add it")
        case "literal_error" if "entities" in place:
            close = difflib.get_close_matches(str(problem["input"]), get_args(Action), 1)
            fix = f"did you mean '{close[0]}'?" if close else f"use one of {', '.join(get_args(Action))}"
            return RuleFinding(PROFILES_FILE, path, f"unknown action {problem['input']!r}", fix)
        case "string_pattern_mismatch":
            return RuleFinding(PROFILES_FILE, path, "is no entity name", "entity names look like EMAIL_ADDRESS")
        case _:
            return RuleFinding(PROFILES_FILE, path, str(problem["msg"]))


def _profile(name: str, model: _ProfileModel, files: Mapping[str, str], findings: list[RuleFinding]) -> Profile:
    path = f"profiles.{name}"
    allow = _entries(model.allow, f"{path}.allow", files, findings)
    deny = {}
    for entity, listed in model.deny.items():
        deny[entity] = _entries(listed, f"{path}.deny.{entity}", files, findings)
        if model.entities.get(entity, "keep") == "keep":
            message = f"the profile does not look for {entity}"
            findings.append(RuleFinding(PROFILES_FILE, f"{path}.deny.{entity}", message, f"add {entity} to entities"))
    return Profile(
        name=name,
        ner=model.ner,
        threshold=model.threshold,
        actions=dict(model.entities),
        allow=frozenset(entry.lower() for entry in allow),
        deny=deny,
    )


def _entries(
    listed: Iterable[str], path: str, files: Mapping[str, str], findings: list[RuleFinding]
) -> tuple[str, ...]:
    """Return texts as they are, and for `*.txt` the lines of that file."""
    entries: list[str] = []
    for item in listed:
        if not item.endswith(".txt"):
            entries.append(item.strip())
        elif item in files:
            entries.extend(read_list(files[item]))
        else:
            findings.append(RuleFinding(PROFILES_FILE, path, f"the list '{item}' is missing", f"create {item}"))
    return tuple(entry for entry in entries if entry)
