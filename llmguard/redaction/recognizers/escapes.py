r"""Text that was quoted once too often, as recognizers should read it: `Regards,\nAnna` names Anna, not `nAnna`.

Logs and tickets carry JSON inside of text, where a line end is a backslash and a letter.
"""

import re

# Not in front of a small letter, as in `C:\new` and `\nabla`: there it is a path or a command of TeX.
_ESCAPE = re.compile(r"\\([nrt])(?![a-z])")
_MEANT = {"n": " \n", "r": " \r", "t": " \t"}


def unescaped(text: str) -> str:
    """Return the text with escaped line ends and tabs as such; every character keeps its place."""
    return _ESCAPE.sub(lambda match: _MEANT[match[1]], text) if "\\" in text else text
