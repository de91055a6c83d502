"""Import a package without modules of it that nobody here uses, and that cost much to import.

While the package is imported, stand-ins take the place of these modules, and nobody who asks for a stand-in later gets
less than the real thing: it is imported when a stand-in is called, read or subclassed. Where the package turns out to
be another one than was thought, it is imported whole.
"""

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


class StandIn:
    """Takes the place of something in a module until somebody needs it."""

    def __init__(self, module: str, name: str) -> None:
        """Stand in for what has this name in this module; nothing is imported yet."""
        self._module = module
        self._name = name

    @property
    def real(self) -> Any:  # whatever it is
        """What it stands for, imported now."""
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # as the real one
        """Call it."""
        return self.real(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:  # as the real one
        """Read what the real one has; `typing` and `inspect` ask for names that no stand-in has."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let the real one be the base class."""
        return (self.real,)

    def __instancecheck__(self, instance: object) -> bool:
        """Ask whether something is of the real one's class; nothing is of a class that nobody has imported."""
        return self._module in sys.modules and isinstance(instance, self.real)


def import_without(package: str, unused: Mapping[str, str]) -> None:
    """Import a package without the modules named, unless it was imported before.

    Args:
        package: its name.
        unused: the modules; each with what is imported, or read, of it: one name.

    Raises:
        ImportError: it is not installed.
    """
    if package in sys.modules:
        return
    before = set(sys.modules)
    stand_ins = {module: _standing_in(module, name) for module, name in unused.items() if module not in before}
    sys.modules.update(stand_ins)
    try:
        importlib.import_module(package)
    except Exception:  # noqa: BLE001 - it wants more of them than was thought; what else may be wrong is raised below
        for module in set(sys.modules) - before:
            if module.split(".")[0] == package:
                del sys.modules[module]
    finally:
        for module, stand_in in stand_ins.items():
            if sys.modules.get(module) is stand_in:
                del sys.modules[module]
    importlib.import_module(package)


def _standing_in(module: str, name: str) -> ModuleType:
    stand_in = ModuleType(module)
    setattr(stand_in, name, StandIn(module, name))
    return stand_in
