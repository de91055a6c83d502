"""People by lists of names and by the words around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.recognizers.gazetteers import Words, is_given_name, is_surname, towns
from llmguard.redaction.recognizers.handles import HandleRecognizer
from llmguard.redaction.recognizers.known_names import GivenNameRecognizer
from llmguard.redaction.recognizers.people import PersonInContextRecognizer


def found(recognizer, text):
    return sorted({text[hit.start : hit.end] for hit in recognizer().find(text)})


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("Anna and Kowalski met.", ["Anna", "Kowalski"]),
        ("We met Xyzzo Kowalski today", ["Xyzzo Kowalski"]),
        ("Ask the Kovačević family", ["Kovačević"]),
        ("did olga or ivan sign the form?", ["ivan", "olga"]),
        ("the Müller Group pays", []),
        ("Der Schneider kam", []),
        ("KOWALSKI wrote", []),
        ("April Martin came in April", ["April Martin"]),
        ("Margaret Demirkan PhD", ["Margaret Demirkan PhD"]),
        ("Qwertska, Anna", ["Anna", "Qwertska, Anna"]),
        ("Anna Bank opened", []),
        ("we saw Jan, Kristi, Stephen and April", ["April", "Jan", "Kristi", "Stephen"]),
        ("ANNA", []),
        ("Mr Takahashi left", ["Takahashi"]),
        ("She said. Meanwhile Xyzzo Kowalski left", ["Xyzzo Kowalski"]),
        ("İzmir " * 2, []),
    ],
)
def test_known_names_are_people(text, people):
    assert found(GivenNameRecognizer, text) == people


def test_small_letters_in_another_language_are_no_surnames():
    assert found(GivenNameRecognizer, "ich bin kurz bei schneider gewesen") == []
    assert found(GivenNameRecognizer, "the kowalski file is for you") == ["kowalski"]


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("What's your name?\nKamman", "Kamman"),
        ("what is your full name?\nmark pinto", "mark pinto"),
        ("It is under my partner's name Travis Kowalski", "Travis Kowalski"),
        ("she named him joshua.", "joshua"),
        ("Iwao is pregnant", "Iwao"),
        ("Csanád resigned", "Csanád"),
        ("a film starring Janković", "Janković"),
        ("please remind Zsófia about it", "Zsófia"),
        ("ask Dr. Samuel Achebe", "Samuel Achebe"),
    ],
)
def test_words_around_a_person_tell(text, person):
    assert person in found(PersonInContextRecognizer, text)


@pytest.mark.parametrize(
    "text", ["what is your name?\nthe team", "Please remind The Team", "Python is pregnant with meaning"]
)
def test_the_same_words_around_something_else_do_not(text):
    assert found(PersonInContextRecognizer, text) == []


@pytest.mark.parametrize(
    ("text", "handles"),
    [
        ("hey @anna_k, did @bob call?", ["anna_k", "bob"]),
        ("@jkowalski can you review this?", ["jkowalski"]),
        ("@ MikeStone thanks", ["MikeStone"]),
        ("lunch @ Joes at 12", []),
        ("see you @ anna_k99", ["anna_k99"]),
        ("    @property\n    def x(self): ...", []),
        ("@cached\ndef f(): pass", []),
        (" * @param name the name\n * @see Other", []),
        ("write to anna@example.org or npm i @types/node", []),
        ("Thanks to @everyone!", []),
        ("Accepted publickey for hvossberg from 93.44.12.7", ["hvossberg"]),
        ("session opened for user root by (uid=0)", []),
        ("line one\nline two @ anna_k99", []),
    ],
)
def test_handles_are_people_in_chat_and_not_in_code(text, handles):
    assert found(HandleRecognizer, text) == handles


def test_lists_know_capitals_hyphens_and_possessives():
    assert is_given_name("ANNA")
    assert is_given_name("Anne-Marie")
    assert not is_given_name("Newton-CG")
    assert is_surname("KOWALSKI")
    assert is_surname("Kowalski's")
    assert is_surname("Smith-Kowalski")
    assert is_surname("McKenzie")
    assert not is_surname("Table")
    assert all(name in towns() for name in ("Berlin", "Nairobi", "New York"))


@given(st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1)), st.text())
def test_words_hold_what_a_set_of_them_would_hold(words, other):
    held, every = Words(words), [*words, other, *(word[:-1] for word in words), *(word + "\n" for word in words)]
    assert [word in held for word in every] == [word in set(words) for word in every]


def test_two_neighbours_with_the_line_break_between_them_are_no_word():
    assert "Anna\nAnnabel" not in Words(["Anna", "Annabel"])
