"""Provider keys: read from the environment at each call, held for the time of it, and never shown."""

from collections.abc import Mapping

from llmguard.domain.catalog import Model
from llmguard.providers import failures


def read_key(model: Model, environ: Mapping[str, str]) -> str | None:
    """Return the key of a model's provider; None if the registry names none (a local server without keys).

    Raises:
        AttemptFailed: the variable is empty, not set, or holds what no HTTP header can carry.
    """
    variable = model.provider.api_key_env
    if variable is None:
        return None
    key = environ.get(variable, "").strip()
    # Checked here, since HTTP libraries put a header that they refuse, and so the key, into their exceptions.
    if not key or not key.isascii() or not key.isprintable():
        raise failures.no_key(model, variable)
    return key
