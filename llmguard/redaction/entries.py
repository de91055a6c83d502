"""One hidden spelling of a value, and how it is written when it comes back."""

import json

import msgspec


class Entry(msgspec.Struct, eq=False):
    """One hidden spelling. Its repr tells the placeholder and not the value.

    Attributes:
        placeholder: as the provider sees it.
        code: its letters, unique in the vault.
        entity_type: Presidio's name.
        text: the value exactly as it stood in the text.
        raw: how the value was written inside a JSON string; None when it stood in none.
        number: it stood in JSON as a number.
    """

    placeholder: str
    code: str
    entity_type: str
    text: str
    raw: str | None = None
    number: bool = False

    def __repr__(self) -> str:
        """Tell the placeholder only."""
        return f"Entry({self.placeholder})"

    def in_json_string(self) -> str:
        """Return the value as it is written between the quotes of a JSON string."""
        return json.dumps(self.text, ensure_ascii=False)[1:-1] if self.raw is None else self.raw
