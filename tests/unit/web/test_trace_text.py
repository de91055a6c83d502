"""Texts of traces in pieces: placeholders apart, and nothing beyond what a page takes."""

from llmguard.web.console.trace_text import Piece, Teller, answered_in, asked_in, colour_of


def text_of(said):
    return "".join(piece.text for piece in said.pieces)


def test_placeholders_stand_apart_with_their_type_and_always_the_same_colour():
    pieces = list(Teller(("CVV",)).pieces("Ask <PERSON_KOFADELIMORU>, <CVV> or <b>."))

    person, cvv = colour_of("PERSON"), colour_of("CVV")
    assert pieces == [
        Piece("Ask "),
        Piece("<PERSON_KOFADELIMORU>", "PERSON", person),
        Piece(", "),
        Piece("<CVV>", "CVV", cvv),
        Piece(" or <b>."),
    ]


def test_messages_parts_tools_and_settings_are_told():
    request = {
        "model": "m",
        "temperature": 0.1,
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            "not a message",
        ],
    }

    said = asked_in(request, Teller(()))

    assert [one.who for one in said] == ["system", "user", "assistant", "settings"]
    assert text_of(said[1]).startswith("Hi\n{")
    assert '"tool_calls"' in text_of(said[2])
    assert text_of(said[3]) == '{\n  "temperature": 0.1\n}'


def test_answers_of_all_shapes_are_told():
    choice = {"choices": [{"message": {"role": "assistant", "content": "Yes", "refusal": "no"}}, "odd"]}
    vectors = {"data": [{"embedding": "AAAA"}, {"embedding": "AAAA"}]}

    assert [text_of(one) for one in answered_in(choice, Teller(()))] == ["Yes\nno"]
    assert text_of(answered_in(vectors, Teller(()))[0]) == "2 of them; the file has their figures."
    assert [one.who for one in answered_in({"omitted": "too long"}, Teller(()))] == ["answer"]
    assert answered_in(None, Teller(())) == asked_in(None, Teller(())) == []


def test_a_page_takes_so_much_and_says_where_it_ends():
    teller = Teller((), left=5)

    first, second = teller.said("user", "123456789"), teller.said("user", "more")

    assert (text_of(first), first.is_cut) == ("12345", True)
    assert (text_of(second), second.is_cut) == ("", True)
