"""How long ago something was, in words."""

from datetime import timedelta

import pytest
from django.utils import timezone

from organizations.templatetags.ago import ago


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(seconds=-5), "just now"),  # another machine's clock
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=61), "1\xa0minute ago"),
        (timedelta(hours=3, minutes=20), "3\xa0hours ago"),
        (timedelta(days=16), "2\xa0weeks ago"),
    ],
)
def test_the_largest_unit_is_said(passed: timedelta, words: str) -> None:
    assert ago(timezone.now() - passed) == words
