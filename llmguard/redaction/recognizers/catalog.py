"""Names every recognizer class of llmguard: import this before Presidio reads `recognizers.yaml`.

Presidio finds predefined recognizers by class name among the subclasses of `EntityRecognizer` that are imported.
"""

from llmguard.redaction.presidio import EntityRecognizer
from llmguard.redaction.recognizers.addresses import StreetAddressRecognizer
from llmguard.redaction.recognizers.cards import PaymentCardRecognizer
from llmguard.redaction.recognizers.dates import OldDateRecognizer
from llmguard.redaction.recognizers.handles import HandleRecognizer
from llmguard.redaction.recognizers.known_names import GivenNameRecognizer
from llmguard.redaction.recognizers.labelled import LabelledValueRecognizer
from llmguard.redaction.recognizers.mail import MailAddressRecognizer
from llmguard.redaction.recognizers.national_ids import NationalIdRecognizer
from llmguard.redaction.recognizers.networks import NetworkAddressRecognizer
from llmguard.redaction.recognizers.people import PersonInContextRecognizer
from llmguard.redaction.recognizers.phones import TelephoneRecognizer
from llmguard.redaction.recognizers.places import CountryRecognizer, TownRecognizer
from llmguard.redaction.recognizers.secrets import SecretRecognizer
from llmguard.redaction.recognizers.tables import TableColumnRecognizer
from llmguard.redaction.recognizers.urls import UrlInContextRecognizer

RECOGNIZERS: tuple[type[EntityRecognizer], ...] = (
    CountryRecognizer,
    GivenNameRecognizer,
    HandleRecognizer,
    LabelledValueRecognizer,
    MailAddressRecognizer,
    NationalIdRecognizer,
    NetworkAddressRecognizer,
    OldDateRecognizer,
    PaymentCardRecognizer,
    PersonInContextRecognizer,
    SecretRecognizer,
    StreetAddressRecognizer,
    TableColumnRecognizer,
    TelephoneRecognizer,
    TownRecognizer,
    UrlInContextRecognizer,
)
