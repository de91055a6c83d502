import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from llmguard.identity.key_text import KEY_PATTERN, is_well_formed, new_key_id, new_key_text

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_new_key_has_the_documented_form():
    key_id = new_key_id()

    key = new_key_text(key_id)

    assert re.fullmatch(r"sk-lg_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}[0-9A-Za-z]{6}", key)
    assert key.split("_")[1] == key_id
    assert is_well_formed(key)


def test_a_scanner_can_prove_a_hit_from_the_documentation_alone():
    key = new_key_text(new_key_id())
    found = re.search(KEY_PATTERN, f'api_key = "{key}"  # pasted').group()

    body, checksum = found[:-6], found[-6:]
    value = 0
    for digit in checksum:
        value = value * 62 + BASE62.index(digit)
    assert value == zlib.crc32(body.encode())


def test_two_keys_of_one_id_differ():
    key_id = new_key_id()
    assert new_key_text(key_id) != new_key_text(key_id)


@given(place=st.integers(0, 56), typed=st.sampled_from(BASE62 + "_-é "))
def test_any_mistyped_character_is_noticed(place, typed):
    key = new_key_text(new_key_id())
    mistyped = key[:place] + typed + key[place + 1 :]

    assert is_well_formed(mistyped) == (mistyped == key)


@given(length=st.integers(0, 56))
def test_a_key_that_was_cut_is_noticed(length):
    assert not is_well_formed(new_key_text(new_key_id())[:length])


def test_a_key_with_a_line_break_behind_it_is_not_a_key():
    assert not is_well_formed(new_key_text(new_key_id()) + "\n")
