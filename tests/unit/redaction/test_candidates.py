from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.candidates import Candidate, drop_duplicates, resolve_overlaps

ACTIONS = {"KEY": "block", "PERSON": "hide", "CARD": "hide", "URL": "drop", "DATE": "report"}
TEXT = "abcdefghij klmnopqrst uvwxyz0123456789 .,;:!? abcdefgh"


def a_candidate(start, end, entity="PERSON", score=0.6, **changes):
    return Candidate(start, end, entity, score, changes.pop("recognizer", "R"), changes.pop("pattern", "p"), **changes)


def resolved(*candidates):
    return [(start, end, one.entity_type) for start, end, one in resolve_overlaps(list(candidates), ACTIONS, TEXT)]


def test_what_blocks_wins_over_everything():
    assert resolved(a_candidate(0, 8, "KEY", 0.5), a_candidate(0, 10, "CARD", 1.0)) == [(0, 8, "KEY"), (8, 10, "CARD")]


def test_what_is_only_reported_never_takes_the_place_of_what_is_hidden():
    assert resolved(a_candidate(0, 10, "DATE", 1.0), a_candidate(2, 8, "PERSON", 0.5)) == [
        (0, 2, "DATE"),
        (2, 8, "PERSON"),
        (8, 10, "DATE"),
    ]


def test_a_validated_value_wins_over_a_longer_guess_which_keeps_the_rest():
    assert resolved(a_candidate(0, 20, "PERSON", 0.9), a_candidate(11, 20, "CARD", 1.0)) == [
        (0, 10, "PERSON"),
        (11, 20, "CARD"),
    ]


def test_a_pattern_with_evidence_wins_over_the_language_model():
    guess = a_candidate(0, 10, "PERSON", 0.85, pattern=None)
    assert resolved(guess, a_candidate(0, 10, "CARD", 0.5)) == [(0, 10, "CARD")]
    assert resolved(guess, a_candidate(0, 10, "CARD", 0.4, context_word="card")) == [(0, 10, "CARD")]
    assert resolved(guess, a_candidate(0, 10, "CARD", 0.4)) == [(0, 10, "PERSON")]


def test_the_longer_span_wins_then_the_higher_score():
    assert resolved(a_candidate(0, 10, "CARD", 0.6), a_candidate(0, 8, "URL", 0.9)) == [(0, 10, "CARD")]
    assert resolved(a_candidate(0, 10, "CARD", 0.6), a_candidate(0, 10, "URL", 0.9)) == [(0, 10, "URL")]


def test_a_rest_of_punctuation_is_no_finding():
    loser = a_candidate(30, 45, "PERSON", 0.7)
    assert resolved(a_candidate(22, 38, "CARD", 1.0), loser) == [(22, 38, "CARD")]
    assert loser.fate == "overlapped"


def test_neighbours_that_only_touch_both_stay():
    assert resolved(a_candidate(0, 5), a_candidate(5, 10, "CARD")) == [(0, 5, "PERSON"), (5, 10, "CARD")]


SPANS = st.builds(
    lambda start, length, entity, score, pattern: a_candidate(
        start, min(start + length, len(TEXT)), entity, score, pattern=pattern
    ),
    st.integers(0, len(TEXT) - 1),
    st.integers(1, 20),
    st.sampled_from(sorted(ACTIONS)),
    st.sampled_from([0.1, 0.5, 0.85, 1.0]),
    st.sampled_from([None, "p"]),
)


@given(st.lists(SPANS, max_size=12))
def test_findings_are_sorted_disjoint_and_cover_every_letter_that_was_proposed(candidates):
    pieces = resolve_overlaps([replace(one) for one in candidates], ACTIONS, TEXT)
    assert all(first[1] <= second[0] for first, second in pairwise(pieces))
    covered = {place for start, end, _ in pieces for place in range(start, end)}
    proposed = {place for one in candidates for place in range(one.start, one.end)}
    assert covered <= proposed
    lost = {place for place in proposed - covered if TEXT[place].isalnum()}
    # only single letters between stronger findings may be lost
    assert all(place - 1 not in lost and place + 1 not in lost for place in lost)


@given(st.lists(SPANS, max_size=12), st.randoms())
def test_the_order_of_proposals_does_not_matter(candidates, rng):
    shuffled = [replace(one) for one in candidates]
    rng.shuffle(shuffled)
    first = [(start, end, one.entity_type) for start, end, one in resolve_overlaps(candidates, ACTIONS, TEXT)]
    assert first == [(start, end, one.entity_type) for start, end, one in resolve_overlaps(shuffled, ACTIONS, TEXT)]


@given(st.lists(SPANS, max_size=12))
def test_a_duplicate_lies_inside_an_equally_sure_finding_of_its_entity(candidates):
    kept = drop_duplicates([replace(one) for one in candidates])
    for one in candidates:
        holders = [
            other
            for other in kept
            if other.entity_type == one.entity_type
            and other.start <= one.start
            and one.end <= other.end
            and one.score <= other.score
        ]
        assert holders
