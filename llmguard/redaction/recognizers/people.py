"""People whom the words around them name: titles, greetings, sign-offs, introductions, mail headers."""
# ruff: noqa: E501, RUF001, SIM905  # a regex is read in one piece; people type curly apostrophes and dashes; lists of words read better without quotes

import re
import sys
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer
from llmguard.redaction.recognizers.names import INITIAL, NAME, TWO_NAMES, UPPER, WORD, is_name, titled
from llmguard.redaction.recognizers.vocabulary import TITLES

_TITLED = re.compile(
    rf"(?<![\w@./-])(?:{TITLES}\.? ){{1,2}}(?:(?:and|&|und) {TITLES}\.? )?(?P<v>(?:{INITIAL} ){{0,2}}{NAME})"
)
_TITLED_SMALL = re.compile(
    r"(?<![\w@./-])(?:mr|mrs|ms|dr|prof|miss)\.? (?P<v>[a-z]{3,20}(?: [a-z]{3,20})?)(?=['’]s|[,.;:!?]|$| (?:is|was|has|will|from|at|and|said))"
)
_GREETING = re.compile(
    rf"(?m)(?:^|[.!?>\"'] ?|\\n)[ \t]{{0,8}}(?:Dear|Hi|Hello|Hey|Hallo|Liebe|Lieber|Liebes|Sehr geehrte[rs]?|Bonjour|Cher|Chère|Hola|Estimad[oa]|Querid[oa]|Ciao|Caro|Cara"
    rf"|Olá|Good (?:morning|afternoon|evening|day)|Thanks|Thank you|Thx|Cheers|Morning|Greetings)[,!]? (?:{TITLES}\.? )?(?P<v>{NAME})(?=[ \t]{{0,3}}(?:[,!.:;\n—–-]|\\n|and\b|&|$))"
)
_SIGN_OFF = re.compile(
    r"(?im)^[ \t>]{0,8}(?:(?:best|kind|warm|warmest|kindest|many)?[ ]?regards|sincerely(?: yours)?|yours (?:sincerely|faithfully|truly)|best(?: wishes)?"
    r"|cheers|thanks(?: again| a lot| so much)?|thank you(?: very much)?|many thanks|with (?:best|kind) regards|respectfully|cordially|all the best|take care|love"
    r"|mit freundlichen grüßen|viele grüße|liebe grüße|beste grüße|cordialement|saludos|atentamente|cordiali saluti|atenciosamente|br|rgds)[ \t]{0,3}[,.!]?[ \t]{0,3}"
    rf"(?:\r?\n[ \t>]{{0,8}}){{1,3}}(?P<v>(?-i:(?:{INITIAL} ){{0,2}}{NAME}))(?=[ \t]{{0,3}}(?:[\r\n,|(]|\\n|-|$))"
)
_DASHED = re.compile(rf"(?m)^[ \t]{{0,4}}(?:--|—|–|- |~) ?(?P<v>{NAME})[ \t]{{0,4}}$")
_INTRODUCED = re.compile(
    r"(?i)\b(?:(?:my|his|her|their|the|whose|s)['’]?s? (?:(?:full|first|last|real|maiden|middle|given|legal|user|new|preferred) )?name(?:'s| is| was| it's|:)"
    r"|(?:i am|i'm|im|this is|it's|it is) (?:called|named)|(?:am|is|are|was|were|been|person|people|man|woman|guy|girl|boy|friend|colleague|someone|somebody|me|him|her)"
    r" (?:called|named)|call me|calls me|known as|speaking with|spoke (?:to|with)|talk(?:ed|ing)? (?:to|with)|address me as|name on (?:the|my) (?:account|card) is|name is|is under|it'?s under)"
    rf" (?P<v>(?-i:(?:{TITLES}\.? )?{NAME}))"
)
_INTRODUCED_SMALL = re.compile(
    r"(?i)\b(?:my|his|her) (?:full |first |last |maiden )?name(?:'s| is| was) (?P<v>(?-i:[a-z]{2,20}(?: [a-z]{2,20})?))(?=[,.;!?\n]|$| and\b)"
)
_I_AM = re.compile(
    rf"(?:^|[.!?,;:\"'>\n] ?)(?i:hi|hello|hey)?[,!.]? ?(?:I am|I'm|I’m|This is|this is|Here is|It's|it's|Ich bin|Je suis|Soy|Me llamo|Je m'appelle|Mi chiamo|Mein Name ist)"
    rf" (?:{TITLES}\.? )?(?P<v>{TWO_NAMES}|{WORD}(?= (?:from|speaking|here|calling|and)\b|[.,!] ))"
)
_ROLE = re.compile(
    r"(?i)\b(?:employee|colleague|manager|supervisor|boss|assistant|patient|customer|client|applicant|candidate|tenant|landlord|wife|husband|son|daughter|mother|father|brother|sister|partner|nurse|doctor"
    r"|claimant|defendant|plaintiff|witness|driver|student|teacher|coworker|co-worker|neighbou?r|friend|cousin|uncle|aunt|recruiter|interviewer|director|officer|accountant|lawyer|attorney|contractor|passenger"
    rf"|beneficiary|spouse|fianc[ée]e?|grandmother|grandfather|nephew|niece|technician|agent|analyst|engineer|lead|executive|ceo|cfo|cto)[,:]? (?P<v>(?-i:{TWO_NAMES}))"
)
_ANY_DISTANCE = sys.maxsize
_SPOKE_NEEDS = ("said", "says", "asked", "replied", "shouted", "explained", "added", " to ", "given", "tell", "told")
_ROLE_NEEDS = tuple(
    "employee colleague manager supervisor boss assistant patient customer client applicant candidate tenant landlord wife"
    " husband son daughter mother father brother sister partner nurse doctor claimant defendant plaintiff witness driver student"
    " teacher worker neighbo friend cousin uncle aunt recruiter interviewer director officer accountant lawyer attorney"
    " contractor passenger beneficiary spouse fianc nephew niece technician agent analyst engineer lead executive ceo cfo"
    " cto".split()  # words, not quotes
)
_MAILBOX = re.compile(
    rf"(?P<v>{TWO_NAMES}|{WORD}, {WORD}(?: {INITIAL})?|{WORD})(?=[\"']? ?[<(\[](?:mailto:)?[\w.+%-]{{1,64}}@)"
)
_SPEAKER = re.compile(
    rf"(?m)^(?:\[[^\]\n]{{1,30}}\][ \t]?|\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?: ?[AP]M)?[ \t-]{{1,3}})(?P<v>{NAME})(?=[ \t]?(?:[:>]|\())"
)
_SPEAKER_PLAIN = re.compile(rf"(?m)^(?:>[ ]?)?(?P<v>{TWO_NAMES})(?=: [^\n])")
_MENTION = re.compile(rf"(?<![\w@])@(?P<v>{WORD} {WORD})(?![\w.])")
_PARTICLED = re.compile(
    rf"(?<![\w/.@-]){WORD} (?:{INITIAL} )?(?:(?:van|von|ten|ter|bin|ibn|zu|af)(?: (?:de[rn]?|het|'t|la|und zu))? |(?:de la|de los|de las|della) ){WORD}(?:-{WORD})?"
)
_POSSESSIVE = re.compile(
    rf"(?<![\w/@.-])(?P<v>{NAME})['’]s (?=(?:(?:new|old|home|work|private|mobile|personal|current|email|e-mail) )?(?:address|phone|number|cell|mobile|email|e-mail|birthday|salary|wife|husband|daughter|son|mother|father|brother|sister|manager|boss|passport|ssn|payslip|timesheet|contract|resume|diagnosis|medical|badge|desk|laptop|leave|sick)\b)"
)
_SPOKE = re.compile(
    rf"\b(?:said|says|asked|replied|shouted|explained|added|according to|thanks to|assistant to|given|tell|told) (?P<v>{NAME})(?![\w(@])"
)
_ANSWERED = re.compile(
    rf"(?i)\b(?:your|full|whose|the|first|last|his|her) names?(?:,? please)?[?:.!]?[\"']?\s{{0,3}}(?:\r?\n[ \t>-]{{0,4}}(?:[A-Za-z]{{2,12}}:[ \t]?)?){{1,2}}(?P<v>(?-i:{TWO_NAMES}|{WORD})|[a-z]{{2,20}} [a-z]{{2,20}})(?=[ \t.!]{{0,3}}(?:[\r\n]|$))"
)
_NAMED = re.compile(
    rf"(?i)\b(?:(?:my|his|her|their|our) (?:[a-z-]{{2,14}}['’]s )?names?|(?:named|called) (?:him|her|them|(?:my|our|their|his|her|the) [a-z]{{2,12}})|in the name of|under the name(?: of)?) (?-i:{TITLES}\.? )?(?P<v>(?-i:(?!{TITLES}\b){NAME}))"
)
_NAMED_SMALL = re.compile(r"(?:named|called) (?:him|her) (?P<v>[a-z]{3,20})(?=[.,!?;\n]|$)")
_HUMAN = re.compile(
    rf"(?:^|[.!?\n\"'>] ?|\b(?:that|because|since|if|when|why|how|while|and|but|so|is|was|has|does|did|as) )(?:{TITLES}\.? )?(?!{TITLES}\b)(?P<v>{NAME})['’]?(?= (?:(?:who|and) )?(?:(?:is|was|isn't|wasn't|has been|has|had|will be|seems|became|felt|feels|got|gets|went|goes|called in) (?:[a-z]{{2,10}} ){{0,2}})?(?:sick|ill|pregnant|impulsive|depressed|divorced|widowed|bereaved|retiring|hospitali[sz]ed|absent|on (?:sick |maternity |paternity |parental |annual |medical )?leave|on (?:holiday|vacation|probation)|off sick|out of office|late for work|resigned|retired|apologi[sz]ed|complained|emigrated|got married|passed away|promoted to|fired|laid off|years? old|diagnosed|allergic|disabled|phoned|texted|emailed|e-mailed|whispered|smiled|laughed|cried|nodded)\b)"
)
_WORKS = re.compile(
    rf"\b(?:starring|featuring|directed by|composed by|painted by|married to|engaged to|in love with|interview with|meeting with|lunch with|call with|chat with|dinner with|tribute to|dedicated to|succeeded by|replaced by|represented by|widow of|son of|daughter of|wife of|husband of|mother of|father of|fan of|on behalf of|cc(?:'d|ed)?|cc:|ask|asked|remind|contact|email|e-mail|ping|tell|told|invite|thank) (?:{TITLES}\.? )?(?!{TITLES}\b)(?P<v>{NAME})(?![\w(@])"
)
_VCARD = re.compile(rf"(?m)^(?:FN|N)(?:;[^:\n]{{0,40}})?:(?P<v>[{UPPER}][^\n;:]{{1,40}}(?:;[{UPPER}][^\n;:]{{1,40}})?)")
_BY = re.compile(
    rf"(?i)\b(?:signed|written|prepared|approved|submitted|reported|reviewed|created|requested|authored|issued|filed|assigned|sent|received|hired|interviewed|contacted|forwarded|addressed|escalated|transferred|paid|issued|delivered|payable|refunded)"
    rf" (?:by|to|from) (?P<v>(?-i:{TWO_NAMES}))"
)


def _is_answer(value: str) -> bool:
    return is_name(titled(value))


class PersonInContextRecognizer(RuleRecognizer):
    """PERSON beside words that only stand beside people."""

    ENTITIES: ClassVar = ("PERSON",)
    RULES: ClassVar = (
        Rule("title and name", "PERSON", _TITLED, 0.9, is_name),
        Rule("title and name in small letters", "PERSON", _TITLED_SMALL, 0.7),
        Rule("greeting", "PERSON", _GREETING, 0.9, is_name),
        Rule(
            "sign-off",
            "PERSON",
            _SIGN_OFF,
            0.9,
            is_name,
            needs=(
                "regards",
                "sincerely",
                "yours",
                "best",
                "cheers",
                "thank",
                "respectfully",
                "cordial",
                "take care",
                "love",
                "grüße",
                "saludos",
                "atenta",
                "saluti",
                "atenciosa",
                "br",
                "rgds",
            ),
        ),
        Rule("dash and name", "PERSON", _DASHED, 0.7, lambda value: is_name(value, words=2)),
        Rule(
            "introduction",
            "PERSON",
            _INTRODUCED,
            0.9,
            is_name,
            needs=(
                "name",
                "called",
                "call me",
                "calls me",
                "known as",
                "speaking with",
                "spoke",
                "talk",
                "address me",
                "under",
            ),
        ),
        Rule(
            "introduction in small letters",
            "PERSON",
            _INTRODUCED_SMALL,
            0.7,
            lambda value: is_name(value.title()),
            needs=(" name",),
        ),
        Rule(
            "I am",
            "PERSON",
            _I_AM,
            0.8,
            is_name,
            needs=(
                "i am",
                "i'm",
                "i’m",
                "this is",
                "here is",
                "it's",
                "ich bin",
                "je suis",
                "soy",
                "llamo",
                "appelle",
                "chiamo",
                "mein name",
            ),
        ),
        Rule("role and name", "PERSON", _ROLE, 0.85, lambda value: is_name(value, words=2), needs=_ROLE_NEEDS),
        Rule("mailbox", "PERSON", _MAILBOX, 0.95, is_name, sign="@", reach=_ANY_DISTANCE),
        Rule("speaker after a time", "PERSON", _SPEAKER, 0.85, is_name),
        Rule("speaker", "PERSON", _SPEAKER_PLAIN, 0.6, lambda value: is_name(value, words=2)),
        Rule("mention", "PERSON", _MENTION, 0.7, lambda value: is_name(value, words=2), sign="@"),
        Rule("name with a particle", "PERSON", _PARTICLED, 0.85, lambda value: is_name(value, words=2)),
        Rule("whose it is", "PERSON", _POSSESSIVE, 0.75, is_name, needs=("'s ", "’s ")),
        Rule("who spoke", "PERSON", _SPOKE, 0.55, is_name, needs=_SPOKE_NEEDS),
        Rule("answer to the question for a name", "PERSON", _ANSWERED, 0.7, _is_answer, needs=("name",)),
        Rule("named", "PERSON", _NAMED, 0.8, is_name, needs=(" name", "named ", "called ")),
        Rule("named, in small letters", "PERSON", _NAMED_SMALL, 0.6, _is_answer, needs=("named ", "called ")),
        Rule("what only people are or do", "PERSON", _HUMAN, 0.6, is_name),
        Rule("beside a word for people", "PERSON", _WORKS, 0.5, is_name),
        Rule("vCard name", "PERSON", _VCARD, 0.95),
        Rule("done by", "PERSON", _BY, 0.85, lambda value: is_name(value, words=2), needs=(" by ", " to ", " from ")),
    )
