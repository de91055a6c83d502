"""Laws are tried without a deadline: how long one example takes depends on what else the machine does."""

from tests.support.thorough import unhurried

unhurried()
