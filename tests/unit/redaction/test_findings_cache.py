import tracemalloc

from llmguard.redaction.analyzer import FindingsCache, cache_key
from llmguard.redaction.findings import Finding

FINDING = Finding(0, 4, "PERSON", 0.85, "SpacyRecognizer")
MAIL = Finding(70_000, 70_020, "EMAIL_ADDRESS", 1.0, "EmailRecognizer")


def a_key(number):
    return cache_key("p", str(number))


def test_findings_come_back_as_they_were_put():
    cache = FindingsCache(limit_bytes=100_000)
    for number, findings in enumerate([(), (FINDING,), (FINDING, MAIL)]):
        cache.put(a_key(number), findings)
        assert cache.get(a_key(number)) == findings
        assert cache.get(a_key(number)) == findings
    assert cache.get(a_key("another")) is None


def test_what_is_used_stays_and_what_is_not_used_for_longest_goes_first():
    cache = FindingsCache(limit_bytes=40_000)
    for number in range(1_000):
        cache.put(a_key(number), (FINDING,))
        cache._unpacked.clear()  # else the first would be at hand
        assert cache.get(a_key(0)) == (FINDING,)
        assert cache.get(a_key(max(0, number - 50))) == (FINDING,)
    cache._unpacked.clear()
    assert cache.get(a_key(500)) is None


def test_a_hundred_thousand_texts_stay_within_the_bound():
    cache = FindingsCache(limit_bytes=100_000)
    for number in range(100_000):
        cache.put(a_key(number), (FINDING,) * (number % 3))
        assert cache.held_bytes <= 100_000
    assert 500 < len(cache) < 700


def test_a_text_with_more_findings_than_there_is_room_for_is_not_kept():
    cache = FindingsCache(limit_bytes=100_000)
    cache.put(a_key("short"), (FINDING,))
    cache.put(a_key("long"), (FINDING,) * 1_000)
    assert cache.get(a_key("long")) is None
    assert cache.get(a_key("short")) == (FINDING,)


def test_findings_at_hand_as_objects_are_bounded_too():
    cache = FindingsCache(limit_bytes=10_000_000)
    for number in range(500):
        cache.put(a_key(number), (FINDING,) * 100)
        assert cache.get(a_key(number)) == (FINDING,) * 100
        assert sum(map(len, cache._unpacked.values())) <= 10_000


def test_memory_of_a_full_cache_stays_the_same_and_below_its_bound():
    limit = 1_000_000
    tracemalloc.start()
    try:
        cache, held = FindingsCache(limit), []
        for number in range(20_000):
            cache.put(a_key(number), (FINDING,) * 3)
            if number % 500 == 0:
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    full = held[len(held) // 3 :]
    assert max(full) < limit
    assert max(full) < 1.1 * min(full)


def test_putting_again_counts_once():
    cache = FindingsCache(limit_bytes=10_000)
    for _ in range(3):
        cache.put(a_key("a"), (FINDING,))
    assert (len(cache), cache.held_bytes) == (1, 162)


def test_profiles_and_lone_surrogates_have_keys_of_their_own():
    keys = {cache_key(profile, text) for profile in ("p", "q") for text in ("a", "\ud800", "\ud801")}
    assert len(keys) == 6


def test_the_key_does_not_hold_the_text():
    assert b"secret" not in repr(cache_key("p", "secret" * 100)).encode()
