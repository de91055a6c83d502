"""URLs: those that lead to a person, personal values in a query, and, for strict profiles, all others.

A URL is left alone in most profiles, since links to documents are what questions are about. It is personal when
somebody calls it theirs (`my blog`), when it is the page of a user (`linkedin.com/in/…`, `/~name`; not of a code host,
which changelogs are full of), or when its query carries a name, a mail address or a telephone number; of the last only
the value is hidden, and the link stays one.
"""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar
from urllib.parse import unquote_plus

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import is_given_name, is_surname

_URL = re.compile(r"(?i)(?<![\w@])(?:https?://|www\.)[^\s<>\"'`{}|\\^\[\]]{3,600}")
_END = ".,;:!?)*_"
_OWN = re.compile(
    r"(?i)\b(?:my|his|her|their|personal|own) (?:[a-z-]{2,14} ){0,2}(?:web ?sites?|sites?|web ?pages?|home ?pages?|blog|pages?|portfolio|profile|channel|shop|store|cv|r[eé]sum[eé]"
    r"|linkedin|github|gitlab|facebook|instagram|twitter|xing|photos?|pictures?|album|videos?|gallery|calendar|calendly|wish ?list|url|link)"
    r"(?: (?:is|was|at|on|here|address|url|link|can|be|found|moved|to|now)){0,5}[:,]? {0,2}[\"'(<*]{0,2}$"
    r"|\bI(?:['’]ve| have)? (?:just |also )?(?:shared|sent|uploaded|posted|added|put) [^\n.:]{1,40}[:,]? {1,2}$"
    r"|\b(?:posted|shared|uploaded|added) (?:an? |my |some |the |this |new ){0,3}(?:photos?|pictures?|pics?|selfies?|videos?|story|album)[:.,]? {0,2}$"
)
_CONTACT_BLOCK = re.compile(
    r"(?i)(?:e-?mail|phone|mobile|tel|fax|address)\b[^\n]{0,80}\n[\s\S]{0,200}(?:^|\n)[ \t>*-]{0,8}(?:web ?site|web ?page|home ?page|blog|web|url|www|linkedin|portfolio)[ \t]?:?\s{0,4}$"
)
_BLOCK_REACH = 320
_REACH = 96  # characters of `my website is now at`
_USER_PAGE = re.compile(
    r"(?i)(?:https?://|www\.)(?:[\w-]{1,40}\.){0,2}(?:"
    r"linkedin\.com/(?:in|pub)/[\w%.-]{2,80}"
    r"|(?:facebook|fb|instagram|twitter|x|tiktok|threads|snapchat|pinterest|vk|xing|behance|dribbble|flickr|tumblr|venmo|strava|last)\.(?:com|net|fm)/(?:profile/|athletes/|people/|add/|u/)?@?(?!(?:share|sharer|intent|hashtag|watch|explore|p|reel|login|help|about|privacy|policies|legal|docs|home|search|groups|events|pages|business|developers?|tr|plugins|dialog|settings|download|terms|jobs|company|i|status)\b)[\w.-]{2,50}"
    r"|(?:t|wa|paypal|cash|about|linktr|calendly|orcid)\.(?:me|app|ee|com|org)/[$@+]?[\w.-]{2,50}"
    r"|youtube\.com/(?:@|user/|c/|channel/)[\w.-]{2,50}|reddit\.com/u(?:ser)?/[\w-]{2,40}|stackoverflow\.com/users/\d{1,12}(?:/[\w-]{1,60})?"
    r"|[\w.-]{1,60}/(?:~|@|profiles?/|members?/)[a-z][\w.-]{1,50})"
)
_PERSONAL_QUERY = re.compile(
    r"(?i)[?&;](?P<key>(?:first|last|full|user|family|given|sur)[_-]?name|name|e-?mail|mail|phone|mobile|tel|telephone|dob|birth[_-]?date|date[_-]?of[_-]?birth)=(?P<v>[^&;#\s\"'<>{}$]{2,120})"
)
_KEYS = (
    ("mail", "EMAIL_ADDRESS", lambda value: "@" in value),
    ("name", "PERSON", lambda value: any(is_given_name(part) or is_surname(part) for part in value.title().split())),
    ("tel", "PHONE_NUMBER", lambda value: sum(c.isdigit() for c in value) >= _FEWEST_PHONE_DIGITS),
    ("phone", "PHONE_NUMBER", lambda value: sum(c.isdigit() for c in value) >= _FEWEST_PHONE_DIGITS),
    ("mobile", "PHONE_NUMBER", lambda value: sum(c.isdigit() for c in value) >= _FEWEST_PHONE_DIGITS),
    ("dob", "DATE_OF_BIRTH", lambda value: sum(c.isdigit() for c in value) >= _FEWEST_DATE_DIGITS),
    ("birth", "DATE_OF_BIRTH", lambda value: sum(c.isdigit() for c in value) >= _FEWEST_DATE_DIGITS),
)
_FEWEST_PHONE_DIGITS = 6
_FEWEST_DATE_DIGITS = 4
_PERSONAL, _QUERY = 0.8, 0.85
_ANY = 0.37  # over the threshold of `strict` (0.35) and under that of `standard` (0.4)


class UrlInContextRecognizer(GatedRecognizer):
    """URL that leads to a person; any other URL with a score that only `strict` counts."""

    ENTITIES: ClassVar = ("URL", "PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "DATE_OF_BIRTH")
    GATES: ClassVar = (r"https?://|www\.",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the URLs in the text, and the personal values in their queries."""
        for match in _URL.finditer(text):
            end = match.start() + len(match.group().rstrip(_END))
            before = text[max(0, match.start() - _REACH) : match.start()]
            page = _USER_PAGE.match(text, match.start(), end)
            if _OWN.search(before) or _CONTACT_BLOCK.search(text, max(0, match.start() - _BLOCK_REACH), match.start()):
                yield Hit(match.start(), end, "URL", _PERSONAL, "somebody's own page")
            elif page:
                yield Hit(match.start(), end, "URL", _PERSONAL, "page of a user")
            else:
                yield Hit(match.start(), end, "URL", _ANY, "any URL")
                yield from _in_query(text, match.start(), end)


def _in_query(text: str, start: int, end: int) -> Iterator[Hit]:
    for match in _PERSONAL_QUERY.finditer(text, start, end):
        value = (
            unquote_plus(match["v"]).replace(".", " ") if "name" in match["key"].lower() else unquote_plus(match["v"])
        )
        for word, entity, check in _KEYS:
            if word in match["key"].lower() and check(value):
                yield Hit(*match.span("v"), entity, _QUERY, "personal value in a query")
                break
