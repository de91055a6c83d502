"""The kinds of value that registry.yaml holds, each with its check and the words for what is wrong."""

import math
import re
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from llmguard.domain.catalog import JsonScalar, ToolsRule
from llmguard.registry.parameters import PARAMETERS, RULED_ELSEWHERE

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$"
_PARAMETER_NAME: Final = r"^[a-z][a-z0-9_]{0,39}$"
_PRESET_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}@[1-9][0-9]{0,8}$"
_PRESET_REFERENCE: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[1-9][0-9]{0,8})?$"
_ENVIRONMENT_NAME: Final = r"^[A-Z_][A-Z0-9_]{0,99}$"
_ORIGIN: Final = r"^[a-z][a-z0-9+.-]*://[^/?#@*\s]+$"
_ORIGIN_FIX: Final = "write scheme://host or scheme://host:port, as in https://apps.example.com"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MOST_USD: Final = Decimal(1_000_000_000)
_NANO_PLACES: Final = -9


def refuse(message: str, fix: str, *, hidden: bool = False) -> NoReturn:
    """Refuse a value in pydantic's way.

    Args:
        message: what is wrong, in words for people who do not program.
        fix: what to write instead.
        hidden: the value may be a secret: it is shown nowhere.

    Raises:
        PydanticCustomError: always.
    """
    raise PydanticCustomError("registry", "{message}", {"message": message, "fix": fix, "hidden": hidden})


def _text(value: str) -> str:
    if not value.strip():
        refuse("the text is empty", "write something, or remove the line if it is optional")
    return value


def _named(value: str) -> str:
    if not re.match(_NAME, value):
        refuse(f"{value[:100]!r} cannot be a name", "use letters, digits, dot, dash and underscore, 100 at most")
    return value


def _model_named(value: str) -> str:
    if not re.match(_MODEL_NAME, value):
        refuse(f"{value[:100]!r} cannot be a name", "use letters, digits and . - _ : /, 100 at most")
    return value


def _parameter_named(value: str) -> str:
    if not re.match(_PARAMETER_NAME, value):
        refuse(
            f"{value[:100]!r} cannot be a field of a request", "use small letters, digits and underscore, 40 at most"
        )
    if value in PARAMETERS:
        refuse(f"llmguard knows {value}", f"rule it under `parameters`: {value}: {{}} allows any value")
    if value in RULED_ELSEWHERE:
        refuse(f"{value} is not for apps to add", RULED_ELSEWHERE[value])
    return value


def _preset_id(value: str) -> str:
    if not re.match(_PRESET_ID, value):
        refuse("a preset with its version is expected", "write name@version, as in summarise@2")
    return value


def _preset_reference(value: str) -> str:
    if not re.match(_PRESET_REFERENCE, value):
        refuse("a preset is expected", "write its name (all versions) or name@version, as in summarise or summarise@2")
    return value


def _environment_name(value: str) -> str:
    if not re.match(_ENVIRONMENT_NAME, value):
        refuse(
            "this is not the name of an environment variable (is it the key itself? Then replace that key)",
            "write the name only, in capitals, as in OPENAI_API_KEY; the key itself stays outside this file",
            hidden=True,
        )
    if value.startswith("LLMGUARD_"):
        refuse("llmguard's own settings are never sent to a provider", "use a variable of its own for this key")
    return value


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        refuse("this is not a URL", "write it as in https://api.example.com/v1", hidden=True)
    return parts


def _web_address(value: str) -> str:
    parts = _split(value)
    if parts.username is not None or parts.password is not None:
        refuse("the URL holds a name or password", "remove what stands before the @", hidden=True)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", value):
        refuse("this is not an http or https URL", "write it as in https://api.example.com/v1")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(_web_address(value))
    if parts.query or parts.fragment:
        refuse("a base URL ends before ? and #", "remove them", hidden=True)
    if parts.path.rstrip("/").endswith("/chat/completions"):
        refuse("llmguard adds /chat/completions itself", "end the URL before it, usually with /v1")
    return value


def _origin(value: str) -> str:
    if "*" in value:
        refuse("an origin cannot have a *: each web page that may call is named", _ORIGIN_FIX)
    parts = _split(value)
    if parts.username is not None:
        refuse("an origin holds no name or password", _ORIGIN_FIX, hidden=True)
    if not re.match(_ORIGIN, value) or not parts.hostname:
        refuse("an origin is scheme and host, with nothing behind them, no slash either", _ORIGIN_FIX)
    if value != value.lower():
        refuse("browsers send origins in small letters, so this one never matches", f"write {value.lower()}")
    if parts.port is not None and _DEFAULT_PORTS.get(parts.scheme) == parts.port:
        refuse("browsers leave the usual port out, so this one never matches", f"write {value.rpartition(':')[0]}")
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not in the list; no name at all; the name of a folder
        refuse(f"there is no time zone {value[:100]!r}", _nearest_zone(value))
    return value


def _nearest_zone(value: str) -> str:
    near = get_close_matches(value, available_timezones(), n=1)
    return f"did you mean {near[0]}?" if near else "write a name of the IANA list, as in Europe/Berlin, or UTC"


def _iso_date(value: Any) -> date:  # YAML gives anything
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            refuse("there is no such day in the calendar", "write year-month-day, as in 2027-03-31")
    refuse("a date is expected", "write year-month-day, as in 2027-03-31")


def _usd(value: Any) -> Decimal:  # YAML gives anything
    """Return the figure exactly as it is written: a float's shortest text, never its binary tail."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        quoted = isinstance(value, str) and re.fullmatch(r"\s*[$]?\s*\d+([.,]\d+)?\s*(USD)?\s*", value)
        refuse(
            "an amount of US dollars is expected", "write the figure alone, without quotes" if quoted else "as in 25"
        )
    amount = Decimal(repr(value)) if math.isfinite(value) else _MOST_USD + 1
    if not 0 <= amount <= _MOST_USD:
        refuse("an amount is from 0 to a billion US dollars", "correct the figure")
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < _NANO_PLACES:
        refuse("an amount has nine decimal places at most", "round the figure")
    return amount


def _usd_above_zero(value: Decimal) -> Decimal:
    if value == 0:
        refuse("a budget of 0 would refuse every request", "give a positive amount, or suspend the app with `status`")
    return value


def _scalar(value: Any) -> JsonScalar:  # YAML gives anything
    if isinstance(value, float) and not math.isfinite(value):
        refuse("a parameter cannot be infinite or no number", "write a figure")
    if isinstance(value, str | int | float | bool):
        return value
    refuse("a parameter value is a text, a number, or true or false", "write one of these")


def _tools(value: Any) -> ToolsRule:  # YAML gives anything
    if value == "forbidden":
        return "forbidden"
    if value == "allowed":
        return "allowed"
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name.strip() for name in value):
        refuse("tools are `forbidden`, `allowed`, or a list of tool names", "as in tools: [lookup_order, send_mail]")
    if len(set(value)) < len(value):
        refuse("a tool is named twice", "name each tool once")
    return tuple(value)


Text = Annotated[str, AfterValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
Name = Annotated[str, AfterValidator(_named), WithJsonSchema({"type": "string", "pattern": _NAME})]
ModelName = Annotated[str, AfterValidator(_model_named), WithJsonSchema({"type": "string", "pattern": _MODEL_NAME})]
ParameterName = Annotated[
    str, AfterValidator(_parameter_named), WithJsonSchema({"type": "string", "pattern": _PARAMETER_NAME})
]
PresetId = Annotated[str, AfterValidator(_preset_id), WithJsonSchema({"type": "string", "pattern": _PRESET_ID})]
PresetReference = Annotated[
    str, AfterValidator(_preset_reference), WithJsonSchema({"type": "string", "pattern": _PRESET_REFERENCE})
]
EnvironmentName = Annotated[
    str, AfterValidator(_environment_name), WithJsonSchema({"type": "string", "pattern": _ENVIRONMENT_NAME})
]
WebAddress = Annotated[str, AfterValidator(_web_address), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
BaseUrl = Annotated[str, AfterValidator(_base_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Origin = Annotated[str, AfterValidator(_origin), WithJsonSchema({"type": "string", "pattern": _ORIGIN})]
TimeZone = Annotated[str, AfterValidator(_time_zone), WithJsonSchema({"type": "string", "minLength": 1})]
IsoDate = Annotated[date, BeforeValidator(_iso_date), WithJsonSchema({"type": "string", "format": "date"})]
Usd = Annotated[Decimal, BeforeValidator(_usd), WithJsonSchema({"type": "number", "minimum": 0})]
UsdAboveZero = Annotated[
    Decimal,
    AfterValidator(_usd_above_zero),
    BeforeValidator(_usd),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Scalar = Annotated[
    JsonScalar, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "number", "integer", "boolean"]})
]
ToolsField = Annotated[
    ToolsRule,
    PlainValidator(_tools),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["forbidden", "allowed"]},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
