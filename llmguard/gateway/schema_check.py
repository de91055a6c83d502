"""Check a JSON text against a JSON Schema in a process of its own, which can be stopped: `python -I -m` this module.

Schemas come from apps, and some that fit into a line take hours: references that double at each step, patterns that
fill megabytes when compiled. The library holds the interpreter meanwhile, so only the end of the process ends it.

Standard input has the schema and the text, or null, as a JSON array. The exit code is the verdict.
"""

import resource
import sys
from typing import Any, Final

import jsonschema_rs
import msgspec

CPU_SECONDS: Final = 1
FOLLOWS, UNUSABLE, DIFFERS = 0, 10, 11
_MOST_MEMORY_BYTES: Final = 1024**3
_BACKTRACK_LIMIT: Final = 100_000  # of a `pattern`, which comes from an app and runs over what a model wrote


def validator_of(schema: Any) -> Any:  # Any: JSON of any shape; jsonschema_rs.Validator has no type of its own
    """Return what checks values against a schema; None if the schema is not valid, or refers to one elsewhere."""
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT)
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=options)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError):
        return None


def _verdict(schema: Any, text: str | None) -> int:  # Any: as above
    validator = validator_of(schema)
    if validator is None:
        return UNUSABLE
    return FOLLOWS if text is None or validator.is_valid(msgspec.json.decode(text)) else DIFFERS


def _lower(limit: int, most: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    _lower(resource.RLIMIT_CPU, CPU_SECONDS)
    _lower(resource.RLIMIT_AS, _MOST_MEMORY_BYTES)
    sys.exit(_verdict(*msgspec.json.decode(sys.stdin.buffer.read())))
