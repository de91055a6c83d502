"""Made-up people, and how their data is recognised: nobody real has such a name, address or number.

Addresses end in `.invalid`, which is never registered (RFC 6761, section 6.4); no country has the code +00.
"""

import re
from typing import Final

GIVEN_NAMES: Final = (
    *("Testa", "Mocko", "Sampla", "Dummo", "Exampla", "Fictor", "Prototina", "Demona", "Placebo", "Specima"),
)
FAMILY_NAMES: Final = (
    *("Notareal", "Madeupson", "Fakehart", "Testington", "Mockfield", "Samplewood", "Pretendowski", "Dummelmann"),
    *("Fictionova", "Inventini", "Examplesson", "Standinger"),
)
MAIL_DOMAIN: Final = "sandbox.invalid"
_NAME: Final = rf"(?:{'|'.join(GIVEN_NAMES)})|(?:(?:{'|'.join(GIVEN_NAMES)})[ ._-])?(?:{'|'.join(FAMILY_NAMES)})"
_END: Final = r"""(?:'s)?["'.,;]?"""  # what recognizers take along
MADE_UP: Final = re.compile(
    rf"(?:mailto:)?(?:{_NAME})(?:@{re.escape(MAIL_DOMAIN)})?{_END}|\+00[ \d-]{{4,16}}|TEST-\d{{1,8}}", re.IGNORECASE
)
