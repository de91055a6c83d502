"""Labels: what is known, and what the organisation adds in `recognizers.yaml`."""

import pytest

from llmguard.redaction.profiles import RedactionInvalid, read_files
from llmguard.redaction.recognizer_list import load_recognizers
from llmguard.redaction.recognizers.label_table import STANDARD, Labels, compact
from llmguard.redaction.recognizers.labelled import LabelledValueRecognizer
from llmguard.redaction.recognizers.own_labels import read_labels, teach
from llmguard.redaction.recognizers.shapes import SHAPES
from llmguard.redaction.recognizers.tables import TableColumnRecognizer
from tests.support.redaction_rules import RULES


def found(recognizer, text):
    return [(text[hit.start : hit.end], hit.entity) for hit in recognizer.find(text)]


def entry(**labels):
    return {"name": "LabelledValueRecognizer", "type": "predefined", "labels": labels}


def test_own_labels_are_found_in_forms_prose_and_columns():
    recognizers = [LabelledValueRecognizer(), TableColumnRecognizer()]

    teach(recognizers, [entry(CASE_NUMBER=["Case Ref", "Aktenzeichen"], EMPLOYEE_ID=["works number"])])

    assert found(recognizers[0], "case_ref: LG-204411, my works number is 48213") == [
        ("LG-204411", "CASE_NUMBER"),
        ("48213", "EMPLOYEE_ID"),
    ]
    assert found(recognizers[1], "Aktenzeichen,state\nLG-204411,open\n") == [("LG-204411", "CASE_NUMBER")]
    assert "CASE_NUMBER" in recognizers[0].supported_entities
    assert "CASE_NUMBER" in recognizers[1].supported_entities


def test_own_labels_come_before_the_standard_ones():
    labels = Labels.with_own({"CUSTOMER_ID": ["badge"]})

    assert [one.entity for one in labels.known["badge"]] == ["CUSTOMER_ID", "EMPLOYEE_ID"]
    assert STANDARD.known["badge"][0].entity == "EMPLOYEE_ID"


def test_without_own_labels_nothing_changes():
    recognizer = LabelledValueRecognizer()

    teach([recognizer], [{"name": "IbanRecognizer"}, "CryptoRecognizer"])

    assert recognizer.labels is STANDARD


def test_a_label_is_found_inside_camel_case_where_a_word_ends_after_it():
    recognizer = LabelledValueRecognizer()

    assert found(recognizer, "myAccountHolder: Anna Lee") == [("Anna Lee", "PERSON")]
    assert found(recognizer, "myAccountHolders: Anna Lee") == [("Anna Lee", "PERSON")]
    assert found(recognizer, "myAccountHoldername: Anna Lee") == []


def test_labels_that_are_learnt_are_found_after_others_were():
    recognizer = LabelledValueRecognizer()
    assert found(recognizer, "case_ref: LG-204411") == []

    recognizer.learn(Labels.with_own({"CASE_NUMBER": ["Case Ref"]}))

    assert found(recognizer, "case_ref: LG-204411") == [("LG-204411", "CASE_NUMBER")]


def test_the_example_rules_add_labels():
    recognizers = load_recognizers(read_files(RULES))
    labelled = next(one for one in recognizers if isinstance(one, LabelledValueRecognizer))

    assert found(labelled, "works number: 48213") == [("48213", "EMPLOYEE_ID")]


def test_everything_wrong_with_own_labels_is_said_at_once():
    entries = [
        entry(EMPLOYEE_ID="badge", employee=["x y"], CASE=["ok", 7, "a|b"], EMPTY=[]),
        {"name": "CryptoRecognizer", "labels": {}},
        {"name": "Mine", "class_name": "LabelledValueRecognizer", "labels": ["badge"]},
    ]

    with pytest.raises(RedactionInvalid) as error:
        read_labels(entries)

    assert [(one.path.rpartition(".")[2], one.message) for one in error.value.findings] == [
        ("EMPLOYEE_ID", "must be a list of labels"),
        ("employee", "is no entity name"),
        ("CASE", "7 is no label"),
        ("CASE", "'a|b' is no label"),
        ("EMPTY", "must be a list of labels"),
        ("labels", "only LabelledValueRecognizer takes labels"),
        ("labels", "must list labels by entity"),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Phone:\n771 830 025\n", ["771 830 025"]),
        ("Name:\nAnna Lee\n", ["Anna Lee"]),
        ("address:\n  street: Main\n", []),
        ("user:\n  anna9\n", []),
        (
            "IBAN is DE89 3704 0044 0532 0130 00 and card 4111 1111 1111 1111",
            ["DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111"],
        ),
        ("<ssn>219-09-9999</ssn>", ["219-09-9999"]),
        ("unaccount number: 12345678", []),
        ("accountName: 12345678", []),
        ("İ account no: 12345678", ["12345678"]),
        ('"name": "widget"', []),
        ('"name": "Anna Lee"', ["Anna Lee"]),
        ("name: anna lee\n", []),
        ("full name: anna lee\n", ["anna lee"]),
        ("full name: anna the team of us all\n", []),
        ("city: NEW\n", []),
        ("zip: 1", []),
        ("postcode SW1A 1AA", ["SW1A 1AA"]),
        ("username: Password", []),
        ("username: anna9", ["anna9"]),
        ("address: 12 Elm Street, Springfield", ["12 Elm Street, Springfield"]),
        ("address: somewhere nice", []),
        ("phone: 2024-03-04 10:11", []),
        ("acct: 2024-03-04 10", []),
        ("employee id: v2", []),
        ("employee id: 2024-03-04", []),
        ("where: Viamão Country Club", ["Viamão Country Club"]),
    ],
)
def test_values_behind_labels(text, values):
    assert [text[hit.start : hit.end] for hit in LabelledValueRecognizer().find(text)] == values


def test_every_label_promises_a_shape_that_exists():
    assert {label.shape for labels in STANDARD.known.values() for label in labels} <= set(SHAPES)
    assert compact("Account_No.") == "accountno"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,work e-mail address\r\n1,anna@x.example\r\n", ["anna@x.example"]),
        ('name,city\n"Lee, Anna",Bonn\n"Q""x",Bonn\nn/a,-\n', ["Lee, Anna", "Bonn", "Bonn"]),
        ("name,city\nAnna Lee,Bonn,x\nAnna Lee\n", []),
        ('name,city\n"Anna"y,Bonn\n', ["Bonn"]),
        ("insert into t (last_name, n) values ('Kowalska', 1), ('Lee', 2)", ["Kowalska", "Lee"]),
        ("just, a sentence\nand, another\n", []),
    ],
)
def test_columns_and_inserted_rows(text, values):
    assert [text[hit.start : hit.end] for hit in TableColumnRecognizer().find(text)] == values
