"""Packages are imported without what nobody uses, and whoever needs it all the same gets it."""

import importlib
import subprocess
import sys

import pytest

from llmguard.redaction.lean_imports import import_without
from llmguard.redaction.recognizer_list import load_recognizers
from llmguard.redaction.stop_words import STOP_WORDS

COSTLY = """
READ = "a value"
class Costly:
    kind = "real"
    def __init__(self, value):
        self.value = value
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package whose `costly` module is not wanted; return what imports it."""
    name = f"package_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def imported(source: str, costly: str = COSTLY):
        (tmp_path / name / "__init__.py").write_text(source)
        (tmp_path / name / "costly.py").write_text(costly)
        importlib.invalidate_caches()
        import_without(name, {f"{name}.costly": "Costly"})
        return sys.modules[name]

    yield imported
    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        del sys.modules[module]


def is_imported(package) -> bool:
    return f"{package.__name__}.costly" in sys.modules


def test_the_costly_module_is_not_imported_before_it_is_called(package):
    found = package("from typing import Optional\nfrom .costly import Costly\nMaybe = Optional[Costly]")
    assert not is_imported(found)
    assert found.Costly(7).value == 7
    assert is_imported(found)


def test_a_stand_in_has_what_the_real_one_has(package):
    assert package("from .costly import Costly").Costly.kind == "real"


def test_a_subclass_of_a_stand_in_is_one_of_the_real_one(package):
    found = package("from .costly import Costly")

    class Derived(found.Costly):
        pass

    assert Derived.__mro__[1] is importlib.import_module(f"{found.__name__}.costly").Costly
    assert isinstance(Derived(1), found.Costly)


def test_asking_whether_something_is_of_its_class_imports_nothing(package):
    found = package("from .costly import Costly")
    assert not isinstance(7, found.Costly)
    assert not is_imported(found)


@pytest.mark.parametrize(
    "source",
    ["from .costly import Costly, READ", "from .costly import Costly\nfrom .costly import READ\nx = Costly.kind"],
    ids=["another name", "another name, later"],
)
def test_a_package_that_wants_more_is_imported_whole(package, source):
    found = package(source)
    assert found.READ == "a value"
    assert is_imported(found)
    assert isinstance(found.Costly, type)


def test_a_package_that_was_imported_before_stays_as_it_is(package):
    found = package("from .costly import Costly, READ")
    whole = found.Costly
    assert package("from .costly import Costly") is found
    assert found.Costly is whole


def test_a_package_that_is_broken_says_so_itself(package):
    with pytest.raises(ZeroDivisionError):
        package("1 / 0")


def imported_by(work: str) -> set[str]:
    """Return the modules that a process of its own has after some work."""
    source = f"{work}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_worker_without_names_has_no_spacy():
    modules = imported_by("import llmguard.asgi")
    assert "presidio_analyzer.pattern_recognizer" in modules
    assert not modules & {"spacy", "thinc", "requests", "tldextract"}


def test_a_worker_with_names_has_no_command_line_of_spacy():
    modules = imported_by("import llmguard.asgi\nfrom llmguard.redaction.ner import NerModel\nNerModel.load()")
    assert "spacy.language" in modules
    assert not modules & {"spacy.cli", "weasel", "typer", "requests"}


def test_stop_words_are_those_of_spacy():
    assert importlib.import_module("spacy.lang.en.stop_words").STOP_WORDS == STOP_WORDS


def test_presidio_s_url_recognizer_is_found_when_the_coe_names_it():
    work = f"from {load_recognizers.__module__} import load_recognizers as load\n"
    rules = "supported_languages: [en]\\nrecognizers: [{name: UrlRecognizer, type: predefined}]"
    work += f"assert [one.name for one in load({{'recognizers.yaml': '{rules}'}})] == ['UrlRecognizer']"
    assert "presidio_analyzer.predefined_recognizers.generic.url_recognizer" in imported_by(work)
