"""`@handle` of people in chat, tickets and posts; not the `@word` of code, annotations, packages and addresses."""
# ruff: noqa: E501, RUF001, SIM905  # a regex is read in one piece; people type curly apostrophes and dashes; lists of words read better without quotes

import re
from collections.abc import Iterable
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.plausible import is_in_code

_HANDLE = re.compile(r"(?<![\w@/\\`'=({\[<$%&*+:|~-])@(?P<v>[A-Za-z_]\w{2,29})(?![\w@(\\={\[-]|[./:]\w|/)")
# Corpora and some exports set the sign apart: `@ anna_k thanks`.
_APART = re.compile(r"(?<![\w@/\\`'=({\[<$%&*+-])@ (?P<v>[A-Za-z_]\w{2,29})(?!\w|[./:(]\w)")
_LOGGED_IN = re.compile(
    r"(?i)\b(?:(?:accepted|failed|postponed) [\w/-]{3,24} for (?:invalid user )?|session (?:opened|closed) for user |invalid user )(?P<v>[a-z][\w.-]{1,31})(?=[ (,.]|$)"
)
_LOGIN_NEEDS = (" for ", "nval")  # one of them is in each match, in any case
_SYSTEM_USERS = frozenset(
    "root admin daemon nobody www-data postgres mysql git ubuntu ec2-user deploy jenkins systemd user from".split()
)
_POST_START = re.compile(r"(?:RT |via |[.“\"'>‘-]{1,2} ?)?@ ?\w")
_LOOKS_MADE_UP = re.compile(r"[a-z][A-Z]|\d|_|[a-z]{9}")
_LONGEST_POST = 400
_NO_PEOPLE = frozenset(
    """
    abstract all alpha api apidoc apply arg args argument aspect assert async author authors autowired babel bean before beforeeach
    beta brief bug builder cached callback callstack category channel channels charset class click code component config
    configuration constructor context contextmanager contributor controller copydoc copyright counter data dataclass date decorator
    default defgroup define defun deprecated desc describe description details doc docs e2e echo else elseif emits end endforeach
    endif endsection entity enum error event everyone example exception exports extend extends extension false field file fixme
    fixture font for foreach format func function generated generic getter global group here html id ignore implements import in
    include inherit inheritdoc inject injectable inline input interface internal internals invariant issue item jit kind language
    latest layer license link listens lombok main mark max media memoize memberof method min mixin mock module modifier mutation name
    namespace navigation next none note npm null nullable observable off on once operator option options output override overload
    overview package page param parameter parameterized params patch path pipe plugin post postconstruct precondition prefix private
    produces prop property props protected provides pytest public pure query raise readonly ref reference register relation
    remarks render request requires reserved rest return returns root route router rule sealed section see seealso self service
    session set setter setup since size snippet source spring stable staticmethod subpackage summary supports suppress suppresswarnings
    table tag template test tests theme throws time todo token tool tools transaction transactional transform true tutorial type typedef
    typeparam types use user username usage validator value values var variable version view virtual warning web webkit where wraps yield
    classmethod staticmethod cache property lru_cache app dataclasses typing slots abstractmethod pytestmark hypothesis given keyframes
    supports viewport fontface tailwind utilities apply screen variants responsive container mixin extend warn debug at-root forward
    noon home work lunch school night midnight
    """.split()
)


class HandleRecognizer(GatedRecognizer):
    """PERSON where somebody is mentioned by handle, USERNAME in logs of logins; the sign stays outside, so that a mention stays one."""

    ENTITIES: ClassVar = ("PERSON", "USERNAME")
    GATES: ClassVar = (r"@ ?[a-z_]\w", r"for (?:invalid )?(?:user )?[a-z]")

    def find(self, text: str) -> Iterable[Hit]:
        """Return the handles in the text."""
        lowered = text.lower()
        logins = _LOGGED_IN.finditer(text) if any(need in lowered for need in _LOGIN_NEEDS) else ()
        for match in logins:
            if match["v"].lower() not in _SYSTEM_USERS:
                yield Hit(*match.span("v"), "USERNAME", 0.7, "user in a log of logins")
        if "@" not in text:
            return
        is_post = len(text) <= _LONGEST_POST and "\n" not in text.strip()
        starts_as_post = is_post and _POST_START.match(text) is not None
        for match in _HANDLE.finditer(text):
            if _is_mention(text, match):
                yield Hit(*match.span("v"), "PERSON", 0.6, "handle")
        if not is_post:
            return
        for match in _APART.finditer(text):
            if (starts_as_post or _LOOKS_MADE_UP.search(match["v"])) and match["v"].lower() not in _NO_PEOPLE:
                yield Hit(*match.span("v"), "PERSON", 0.5, "handle set apart")


def _is_mention(text: str, match: re.Match[str]) -> bool:
    if match["v"].lower() in _NO_PEOPLE or is_in_code(text, match.start(), match.end()):
        return False
    line_start = text.rfind("\n", 0, match.start()) + 1
    line_end = text.find("\n", match.end())
    line = text[line_start : line_end if line_end != -1 else len(text)].strip()
    is_alone = line == match.group() and len(text) > len(line) + 1  # a decorator or annotation above a definition
    return not is_alone and not line.startswith(("*", "//", "///", ";;", "@media", "--"))
