"""How text is kept on disk: whether it is encrypted, and which keys open it."""

import json
from dataclasses import dataclass, field
from typing import IO


@dataclass(frozen=True, slots=True)
class AtRest:
    """Whether new text is encrypted, and the keys, the present one first; none are needed where nothing ever was."""

    encrypts: bool = False
    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def candidates(self) -> tuple[bytes | None, ...]:
        """What a file may be kept under, the wanted way first; None is plain."""
        return (*self.keys, None) if self.encrypts else (None, *self.keys)


PLAIN = AtRest()


def at_rest_to(pipe: IO[bytes], at_rest: AtRest) -> None:
    """Tell another process through a pipe, which no other user can read, unlike an environment or a command line."""
    pipe.write(json.dumps([at_rest.encrypts, [key.hex() for key in at_rest.keys]]).encode())
    pipe.close()


def at_rest_from(pipe: IO[bytes]) -> AtRest:
    """Return what the starting process said.

    Raises:
        ValueError: it said something else, or ended before.
    """
    encrypts, keys = json.loads(pipe.read())
    return AtRest(bool(encrypts), tuple(bytes.fromhex(key) for key in keys))
