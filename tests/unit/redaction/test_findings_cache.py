from llmguard.redaction.analyzer import FindingsCache, cache_key
from llmguard.redaction.findings import Finding

FINDING = Finding(0, 4, "PERSON", 0.85, "SpacyRecognizer")


def test_what_was_put_comes_back_and_the_least_recently_used_goes_first():
    cache = FindingsCache(limit_bytes=1000)
    for text in ("a", "b"):
        cache.put(cache_key("p", text), (FINDING,))
    assert cache.get(cache_key("p", "a")) == (FINDING,)
    cache.put(cache_key("p", "c"), (FINDING,))
    assert cache.get(cache_key("p", "b")) is None
    assert cache.get(cache_key("p", "a")) == (FINDING,)


def test_a_hundred_thousand_texts_stay_within_the_bound():
    cache = FindingsCache(limit_bytes=100_000)
    for number in range(100_000):
        cache.put(cache_key("p", str(number)), (FINDING,) * (number % 3))
        assert cache.held_bytes <= 100_000
    assert 0 < len(cache) < 400


def test_putting_again_counts_once():
    cache = FindingsCache(limit_bytes=10_000)
    for _ in range(3):
        cache.put(cache_key("p", "a"), (FINDING,))
    assert (len(cache), cache.held_bytes) == (1, 450)


def test_profiles_and_lone_surrogates_have_keys_of_their_own():
    keys = {cache_key(profile, text) for profile in ("p", "q") for text in ("a", "\ud800", "\ud801")}
    assert len(keys) == 6


def test_the_key_does_not_hold_the_text():
    assert b"secret" not in repr(cache_key("p", "secret" * 100)).encode()
