"""The words people put before personal data, and what stands behind each: entity and shape of the value.

One row a kind of value: entity, shape (see `shapes`), how the label may stand, and the labels. A space in a label
stands for nothing, a space, `_`, `-` or `.`, so `account number` is also `account_number` and `accountNumber`.
"""
# ruff: noqa: E501, RUF001, ISC004  # a regex is read in one piece; people type curly apostrophes and dashes; rows of long strings

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from llmguard.redaction.recognizers.trie import phrase_regex

Form = Literal["key", "prose"]  # `key`: only `label: value` and alike; `prose`: also `my label is value`


@dataclass(frozen=True, slots=True)
class Label:
    """What a label promises."""

    entity: str
    shape: str
    form: Form


Row: TypeAlias = tuple[str, str, Form, str]  # entity, shape, form, labels separated by `|`
_TABLE: tuple[Row, ...] = (
    ("PERSON", "name", "key",
     "full name|fullname|first name|given name|last name|surname|family name|middle name|maiden name|employee name|emp name"
     "|customer name|client name|patient name|contact name|legal name|preferred name|applicant name"
     "|candidate name|account holder|account name holder|card holder|cardholder name|name on card|account owner name"
     "|beneficiary name|recipient name|sender name|payee name|guest name|passenger name|student name|member name"
     "|policyholder|policy holder|insured name|next of kin|emergency contact|emergency contact name|spouse name"
     "|manager name|supervisor name|staff name|worker name|person name|real name|nom complet|nombre completo|nombre"
     "|apellido|apellidos|vorname|nachname|familienname|prenom|nom de famille|cognome|sobrenome|voornaam|achternaam"
     "|mothers maiden name|caller name|user full name|name of employee|name of patient|employee full name"),
    ("PERSON", "two_names", "key",
     "name|display name|employee|patient|customer|client|applicant|candidate|contact|contact person|manager|line manager|supervisor"
     "|hr manager|from|to|cc|bcc|attn|attention|author|assignee|assigned to|reporter|reported by|requester|requested by"
     "|requestor|owner|account owner|recipient|sender|beneficiary|payee|payer|caller|agent|doctor|physician|nurse"
     "|approver|approved by|signed by|signed|prepared by|submitted by|created by|updated by|reviewed by|witness|witnesses"
     "|attendee|attendees|participants|organizer|organiser|interviewer|buyer|seller|tenant|landlord|guest|passenger"
     "|student|teacher|member|spouse|partner|dependent|dependant|child|claimant|insured|defendant|plaintiff|reviewer"
     "|user name full|ship to|bill to|sold to|deliver to|traveler|traveller|cardholder|worker|staff member|referrer"
     "|hiring manager|recruiter|on behalf of|in care of|c o|mitarbeiter|kunde|empleado|cliente|speaker|nominee|delegate"),
    ("EMAIL_ADDRESS", "mail", "key", "email|e mail|email address|mail"),
    ("PHONE_NUMBER", "phone", "prose",
     "phone|phone number|phone no|telephone|telephone number|tel|tel no|mobile|mobile number|mobile no|mobile phone|cell"
     "|cell phone|cellphone|cell number|fax|fax number|fax no|contact number|contact no|whatsapp|home phone|work phone"
     "|direct line|hotline|callback number|telefon|telefonnummer|handy|telefono|telefone|handynummer|extension number"
     "|phone number is|daytime phone|evening phone|landline|office phone|emergency phone|msisdn"),
    ("US_SSN", "ssn", "prose",
     "ssn|social security number|social security no|social security|soc sec|ss number|social security num|ssn number"
     "|ss no|social"),
    ("US_ITIN", "ssn", "prose", "itin|individual taxpayer identification number"),
    ("UK_NINO", "nino", "prose", "national insurance number|national insurance no|ni number|ni no|nino|nat ins no"),
    ("UK_NHS", "digits", "prose", "nhs number|nhs no|nhs"),
    ("AU_TFN", "digits", "prose", "tax file number|tfn"),
    ("AU_MEDICARE", "digits", "prose", "medicare number|medicare no|medicare card"),
    ("CA_SIN", "digits", "prose", "social insurance number|sin number|sin no"),
    ("IN_AADHAAR", "digits", "prose", "aadhaar|aadhaar number|aadhar|aadhar number|aadhaar no|uidai"),
    ("IN_PAN", "ident", "prose", "pan number|pan no|pan card|permanent account number"),
    ("ES_NIF", "ident", "prose", "nif|dni|nie|numero de identidad"),
    ("IT_FISCAL_CODE", "ident", "prose", "codice fiscale|fiscal code"),
    ("PL_PESEL", "digits", "prose", "pesel"),
    ("DE_TAX_ID", "digits", "prose", "steuer id|steueridentifikationsnummer|steuerliche identifikationsnummer|steuer idnr|idnr"),
    ("DE_SOCIAL_SECURITY", "ident", "prose", "sozialversicherungsnummer|rentenversicherungsnummer|sv nummer"),
    ("DE_HEALTH_INSURANCE", "ident", "prose", "krankenversichertennummer|kvnr|versichertennummer"),
    ("SG_NRIC_FIN", "ident", "prose", "nric|fin number|nric no"),
    ("ZA_ID_NUMBER", "digits", "prose", "sa id number|south african id"),
    ("SE_PERSONNUMMER", "digits", "prose", "personnummer|personal identity number"),
    ("KR_RRN", "digits", "prose", "rrn|resident registration number"),
    ("NATIONAL_ID", "ident", "prose",
     "national id|national id number|national identification number|national identity number|nationalid|identity number"
     "|identity card|identity card number|id card number|id card no|id card|citizen id|resident id|personal id"
     "|personal id number|personal number|personal code|government id|government id number|cpf|cpf number|curp|bsn"
     "|burgerservicenummer|numero de securite sociale|nir|insee number|ausweisnummer|personalausweisnummer|hetu|rodne cislo"
     "|cnp|egn|oib|jmbg|emirates id|iqama|hkid|my number|cedula|rut|residence permit|residence permit number|visa number"
     "|green card number|alien number|alien registration number|uscis number|voter id|voter id number|birth certificate number"
     "|identification number|id document number|cccd|emso|ni no"),
    ("US_PASSPORT", "ident", "prose",
     "passport|passport number|passport no|passport num|passport id|us passport|passport book number|passport card number"),
    ("DE_PASSPORT", "ident", "prose", "reisepass|reisepassnummer|passnummer"),
    ("US_DRIVER_LICENSE", "ident", "prose",
     "drivers license|driver license|drivers license number|driver license number|drivers license no|driver licence number"
     "|drivers lic|dl number|dl no|dln|license number dl|driver s license|driver s license number|driver s license no"
     "|drivers permit|driving permit number|dmv number"),
    ("UK_DRIVING_LICENCE", "ident", "prose",
     "driving licence|driving licence number|driving licence no|driver s licence|drivers licence|driver licence"
     "|drivers licence number|driving license|driving license number"),
    ("DE_FUEHRERSCHEIN", "ident", "prose", "führerschein|fuehrerschein|führerscheinnummer|fuehrerscheinnummer"),
    ("TAX_ID", "ident", "prose",
     "tax id|tax id number|taxid|tax identification number|taxpayer id|taxpayer identification number|tin|tin number|tin no"
     "|tax number|tax no|tax reference|utr|unique taxpayer reference|steuernummer|numero fiscal|nit|ein"
     "|tax ref|partita iva|vat number|vat no|vat id|vat registration number|ust idnr"),
    ("IBAN_CODE", "iban", "prose", "iban|iban number|iban no|iban code|account iban"),
    ("CREDIT_CARD", "card", "prose",
     "card number|card no|credit card|credit card number|credit card no|debit card|debit card number|cc number|cc num"
     "|card num|payment card|ccn|creditcard|visa card|mastercard|amex|kreditkartennummer|card|pan|corporate card"),
    ("CARD_SECURITY_CODE", "cvv", "prose", "cvv|cvc|cvv2|cvc2|security code|card verification|card verification value|cvv code"),
    ("US_BANK_NUMBER", "account", "prose",
     "account number|account no|account num|acct no|acct number|acct num|acct|bank account|bank account number|bank account no"
     "|a c no|a c number|a c|checking account|savings account|current account|deposit account|account|kontonummer|konto nr|konto"
     "|numero de cuenta|direct deposit|direct deposit account|beneficiary account|beneficiary account number|payroll account"
     "|account nr|bank acct|acc no|acc number|bank no|bank details|wire account|clabe|checking acct|savings acct|giro"),
    ("ABA_ROUTING_NUMBER", "routing", "prose",
     "routing number|routing no|routing num|aba|aba number|aba routing|aba routing number|routing|routing transit number|rtn"
     "|bank routing number|transit number|aba rtn|routing and account"),
    ("SORT_CODE", "sort_code", "prose", "sort code|sortcode|sc"),
    ("SWIFT_CODE", "swift", "prose", "swift|swift code|bic|bic code|swift bic|bic swift"),
    ("DATE_OF_BIRTH", "date", "prose",
     "date of birth|dob|d o b|birth date|birthdate|birthday|born|born on|was born|geburtsdatum|geboren|geboren am|geb"
     "|date de naissance|né le|née le|fecha de nacimiento|data di nascita|data de nascimento|birth day|geboortedatum"
     "|fodselsdato|child dob|spouse dob|patient dob|doby|date born|bday|b day"),
    ("EMPLOYEE_ID", "ident", "prose",
     "employee id|employee number|employee no|employee num|emp id|emp no|emp number|emp num|employee|staff id|staff number"
     "|staff no|personnel number|personnel no|personnel id|worker id|payroll id|payroll number|payroll no|badge|badge number"
     "|badge no|badge id|associate id|personalnummer|empid|employee code|emp code|clock number|employee ref|eid"),
    ("CUSTOMER_ID", "ident", "prose",
     "customer id|customer number|customer no|customer num|cust id|cust no|cust number|client id|client number|client no"
     "|member id|member number|member no|membership number|membership no|membership id|loyalty number|loyalty card"
     "|policy number|policy no|policy id|insurance number|insurance id|insurance policy|insurance policy number|insurance member id"
     "|subscriber id|subscriber number|beneficiary id|kundennummer|kunden nr|customer ref|customer reference|customer code"
     "|frequent flyer|frequent flyer number|account id|student id|student number|student no|claim number|claim no|claim id"
     "|group number|health plan id|medicaid id|medicaid number|crm id|borrower id|loan number|loan no|mortgage number|claimant id"),
    ("MEDICAL_RECORD_NUMBER", "ident", "prose",
     "mrn|medical record number|medical record no|medical record|medical rec no|patient id|patient number|patient no"
     "|patient ref|chart number|chart no|hospital number|hospital no|health record number|patientid|encounter number"
     "|hospital id|health card number|health card|health insurance number|prescription number|rx number"),
    ("MEDICAL_LICENSE", "ident", "prose", "dea number|dea no|dea|npi|npi number|medical license|medical license number"),
    ("LICENSE_PLATE", "plate", "prose",
     "license plate|licence plate|number plate|plate number|plate no|vehicle registration|registration plate|reg plate"
     "|kennzeichen|vehicle reg|license plate number|tag number|plate"),
    ("VEHICLE_ID", "vin", "prose", "vin|vehicle identification number|vin number|chassis number"),
    ("DEVICE_ID", "ident", "key", "imei|imsi|iccid|device serial|serial number of laptop|meid"),
    ("USERNAME", "user", "key",
     "username|user name|user|login|login name|user id|userid|uid|logon|logon name|account name|screen name|user login"
     "|sam account name|samaccountname|slack handle|twitter handle|skype|skype id|github handle|benutzername|usuario"
     "|github username|handle|nickname|remote user|login id|windows login|network id|ntid|user principal name|upn"),
    ("LOCATION", "address", "key",
     "address|street address|home address|mailing address|postal address|billing address|shipping address|delivery address"
     "|residential address|current address|permanent address|address line 1|address line 2|address line|address1|address2"
     "|street|street name|street line 1|street1|residence|addr|anschrift|adresse|direccion|indirizzo|endereco|strasse|straße"
     "|work address|previous address|new address|old address|correspondence address|registered address|home addr|domicile"
     "|office address|place of residence|property address|service address|deliver to address|pickup address|wohnort"),
    ("LOCATION", "place", "key",
     "city|town|place of birth|birthplace|birth place|hometown|home town|city of birth|country of birth|village|suburb"
     "|municipality|stadt|ort|ciudad|ville|citta|cidade|home city|city name|county|home country|city town"
     "|city of residence|country of residence|billing city|shipping city|place of issue|where|venue|meeting place|treffpunkt|lieu|lugar"),
    ("LOCATION", "postal", "prose",
     "zip|zip code|zipcode|postal code|postalcode|postcode|post code|plz|postleitzahl|codigo postal|code postal|cap code|cep"
     "|pin code|pincode|billing zip|shipping zip|zip 4"),
)  # fmt: skip


_BETWEEN_WORDS = dict.fromkeys(map(ord, " _-./'’"))


def compact(label: str) -> str:
    """Return a label without what may stand between its words: `Account_No.` is `accountno`."""
    return label.lower().translate(_BETWEEN_WORDS)


@dataclass(frozen=True)
class Labels:
    """The labels that are known, ready to be looked for.

    Attributes:
        known: by compact label; several where the shape of the value decides.
        entities: everything that they promise.
        phrases: the labels as they are written.
    """

    known: Mapping[str, tuple[Label, ...]]
    entities: tuple[str, ...]
    phrases: tuple[str, ...]

    @cached_property
    def source(self) -> str:
        """A regex source for any of them in small letters."""
        return phrase_regex(self.phrases)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Labels":
        """Return the labels of rows; of one label in several rows, the first whose shape fits a value counts."""
        rows = tuple(rows)
        known: dict[str, tuple[Label, ...]] = {}
        for entity, shape, form, labels in rows:
            for label in labels.split("|"):
                known[compact(label)] = (*known.get(compact(label), ()), Label(entity, shape, form))
        phrases = tuple(sorted({label for row in rows for label in row[3].split("|")}))
        return cls(known, tuple(dict.fromkeys(row[0] for row in rows)), phrases)

    @classmethod
    def with_own(cls, own: Mapping[str, Sequence[str]]) -> "Labels":
        """Return the standard labels and an organisation's own, which come first.

        Args:
            own: labels by entity; what the value looks like is as for the entity's standard labels, and for a new
                entity a number that may hold letters and signs.
        """
        shapes = {entity: shape for entity, shape, _, _ in reversed(_TABLE)}
        rows: list[Row] = [
            (
                entity,
                shapes.get(entity, "ident"),
                "prose",
                "|".join(" ".join(label.lower().split()) for label in labels),
            )
            for entity, labels in own.items()
            if labels
        ]
        return cls.of((*rows, *_TABLE))


STANDARD = Labels.of(_TABLE)
