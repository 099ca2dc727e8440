import pytest


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5, 6, 7, 8])
def test_it_counts(redis, times):
    for _ in range(times):
        redis("incr", redis.key)
    assert redis("get", redis.key) == str(times)


def test_it_starts_at_nothing(redis):
    assert redis("get", redis.key) == ""


def test_it_takes_numbers_only(redis):
    redis("set", redis.key, "a")
    assert "not an integer" in redis("incr", redis.key)
