"""Secrets: keys of known vendors, tokens, private keys, credentials in URLs, and passwords beside their label.

API_KEY is a key or token by its shape, PASSWORD what stands behind a label or in a URL, PRIVATE_KEY key material.
"""
# ruff: noqa: E501, S105  # a regex is read in one piece; labels, no passwords

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit, Rule
from llmguard.redaction.recognizers.secret_quality import is_password, is_random
from llmguard.redaction.recognizers.secret_vendors import VENDOR_RULES

_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\S]{1,12000}?-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|(?:[A-Za-z0-9+/=\s]|\\[nr]){0,12000})"
)
_AGE = re.compile(r"(?<!\w)AGE-SECRET-KEY-1[0-9A-Z]{58}(?!\w)")
_JWT = re.compile(r"(?<![\w.-])eyJ[\w-]{10,2000}\.eyJ[\w-]{10,6000}\.[\w-]{0,1500}")
_BEARER = re.compile(
    r"(?i)\b(?:authorization|proxy-authorization|x-api-key|x-auth-token)\b[\"']?[ \t]{0,4}[:=,][ \t]{0,4}[\"']?"
    r"(?:(?:bearer|basic|token|apikey)[ \t]{1,4})?(?P<v>[\w.~+/=-]{12,4000})"
)
_BEARER_ALONE = re.compile(r"(?<!\w)[Bb]earer[ \t](?P<v>[\w.~+/=-]{16,4000})")
_USERINFO = re.compile(
    r"(?i)(?<![\w+.-])[a-z][a-z0-9+.-]{1,24}://(?P<v>[^\s/:@\"'<>{}$]{0,80}:[^\s/@\"'<>{}$]{2,200})@[\w.\[-]"
)
_CONNECTION = re.compile(r"(?i)(?:accountkey|sharedaccesskey|sharedaccesssignature)=(?P<v>[\w+/=%&-]{20,200})")
_PADDED = re.compile(
    r"(?i)[?&](?:sig|signature|access_token|api_key|apikey|token|key|auth|secret)=(?P<v>[\w%.~+/-]{12,500}=?=?)"
)

_PASSWORD_WORDS = (
    r"pass(?:word|wd|phrase|code|wort)?|pwd|passwort|kennwort|contrase(?:ñ|n)a|mot[ _]de[ _]passe|senha|wachtwoord"
    r"|parola|adgangskode|l(?:ö|o)senord|has(?:ł|l)o"
)
_TOKEN_WORDS = (
    r"api[ _-]?key|apikey|api[ _-]?token|access[ _-]?key(?:[ _-]?id)?|secret[ _-]?key|secret[ _-]?access[ _-]?key"
    r"|client[ _-]?secret|app[ _-]?secret|consumer[ _-]?secret|signing[ _-]?(?:key|secret)|encryption[ _-]?key"
    r"|private[ _-]?key|auth[ _-]?token|access[ _-]?token|refresh[ _-]?token|bearer[ _-]?token|session[ _-]?token"
    r"|session[ _-]?id|webhook[ _-]?secret|account[ _-]?key|master[ _-]?key|license[ _-]?key|token|secret|credential"
)
_KEY_END = r"[\w-]{0,12}[\"'`*]{0,3}"
_ASSIGN = r"(?:[ \t]{0,12}(?::=|=>|==?|:)[ \t]{0,12}|(?: (?:for|to|of) (?:the |my |our |his |her |your )?[\w-]{1,20}(?: [\w-]{1,20})?)?[ \t]{1,12}(?:is|are|was|ist|est|es)[ \t]{1,4}(?:set to )?)"
_VALUE = r"(?:[bru]?(?P<q>[\"'`])(?P<quoted>[^\s\"'`]{4,400})(?P=q)|(?P<bare>[^\s\"'`,;<>(){}\[\]&|]{5,400}))"
_PASSWORD = re.compile(rf"(?i)(?<![a-z])(?:{_PASSWORD_WORDS}){_KEY_END}{_ASSIGN}{_VALUE}")
_TOKEN = re.compile(rf"(?i)(?<![a-z])(?:{_TOKEN_WORDS}){_KEY_END}{_ASSIGN}{_VALUE}")
_FLAG = re.compile(
    r"(?i)(?<!\S)--?(?:password|passwd|pass|pwd)[ =](?:[\"'](?P<quoted>[^\s\"']{4,200})[\"']|(?P<bare>[^\s\"']{5,200}))"
)
_CURL_USER = re.compile(r"(?i)\bcurl\b[^\n]{0,200}?(?:-u|--user)[ =][\"']?(?P<v>[\w.@+-]{1,80}:[^\s\"']{4,120})")
_CAMEL = re.compile(
    r"(?<=[a-z0-9])(?:Password|Passwd|Passphrase)[\"']?[ \t]{0,4}[:=](?!=)[ \t]{0,4}(?:(?P<q>[\"'])(?P<quoted>[^\s\"']{4,400})(?P=q)|(?P<bare>[^\s\"',;<>(){}\[\]&|]{5,400}))"
)
_CAMEL_TOKEN = re.compile(
    r"(?<=[a-z0-9])(?:Token|Secret|ApiKey|AccessKey|SecretKey|PrivateKey)[\"']?[ \t]{0,4}[:=](?!=)[ \t]{0,4}(?P<q>[\"'])(?P<quoted>[^\s\"']{12,400})(?P=q)"
)

_RULES = (
    Rule("private key in PEM", "PRIVATE_KEY", _PEM, 1.0, needs=("private key",)),
    Rule("age private key", "PRIVATE_KEY", _AGE, 1.0, needs=("age-secret-key",)),
    Rule("JSON web token", "API_KEY", _JWT, 1.0, needs=("eyj",)),
    Rule(
        "authorization header",
        "API_KEY",
        _BEARER,
        0.95,
        is_random,
        needs=("authorization", "x-api-key", "x-auth-token"),
    ),
    Rule("bearer token", "API_KEY", _BEARER_ALONE, 0.9, is_random, needs=("bearer",)),
    Rule("key of a connection string", "API_KEY", _CONNECTION, 0.95, needs=("accountkey", "sharedaccess")),
    Rule("key in a query string", "API_KEY", _PADDED, 0.9, is_random, needs=("&", "?")),
    Rule("credentials of curl", "PASSWORD", _CURL_USER, 0.95, needs=("curl",)),
)
_ASSIGNMENTS = (
    ("password beside its label", "PASSWORD", _PASSWORD, is_password),
    ("password in a camelCase key", "PASSWORD", _CAMEL, is_password),
    ("password of a command", "PASSWORD", _FLAG, is_password),
    ("secret beside its label", "API_KEY", _TOKEN, is_random),
    ("secret in a camelCase key", "API_KEY", _CAMEL_TOKEN, is_random),
)


class SecretRecognizer(GatedRecognizer):
    """API_KEY, PASSWORD and PRIVATE_KEY."""

    ENTITIES: ClassVar = ("API_KEY", "PASSWORD", "PRIVATE_KEY")
    GATES: ClassVar = ("",)  # see `triggers`

    @property
    def triggers(self) -> Sequence[tuple[str, int]]:
        """The regexes of all rules, in the order that `find_fired` counts them in."""
        return _TRIGGERS

    def find(self, text: str) -> Iterable[Hit]:
        """Return the secrets in the text."""
        return self.find_fired(text, _EVERY_RULE)

    def find_fired(self, text: str, fired: AbstractSet[int]) -> Iterable[Hit]:
        """Return the secrets in the text, from the rules that can match."""
        lowered = text.lower()
        for place in sorted(fired):
            if place < len(_ALL_RULES):
                yield from _ALL_RULES[place].find(text, lowered)
            elif place < _FIRST_ASSIGNMENT:
                yield from _find_userinfo(text)
            else:
                yield from _find_assigned(text, *_ASSIGNMENTS[place - _FIRST_ASSIGNMENT])


_ALL_RULES = (*VENDOR_RULES, *_RULES)
_FIRST_ASSIGNMENT = len(_ALL_RULES) + 1
_OTHERS = (_USERINFO, *(regex for _, _, regex, _ in _ASSIGNMENTS))
_TRIGGERS = (*(rule.trigger for rule in _ALL_RULES), *((regex.pattern, regex.flags) for regex in _OTHERS))
_EVERY_RULE = frozenset(range(len(_TRIGGERS)))


def _find_assigned(
    text: str, name: str, entity: str, regex: re.Pattern[str], check: Callable[..., bool]
) -> Iterable[Hit]:
    for match in regex.finditer(text):
        value = match["quoted"] or match["bare"]
        is_quoted = match["quoted"] is not None
        start = match.start("quoted" if is_quoted else "bare")
        value = value if is_quoted else value.rstrip(".!?:*_") if value[-1] in ".:*_" else value
        if check(value, is_quoted=is_quoted):
            yield Hit(start, start + len(value), entity, 0.9, name)


def _find_userinfo(text: str) -> Iterable[Hit]:
    """Yield `user:password` of URLs; the host stays readable for the model."""
    for match in _USERINFO.finditer(text):
        password = match["v"].partition(":")[2]
        if not password.startswith(("%s", "%(", "***", "...", "xxx")) and password.lower() not in {
            "password",
            "pass",
            "pwd",
        }:
            yield Hit(*match.span("v"), "PASSWORD", 0.97, "credentials in a URL")
