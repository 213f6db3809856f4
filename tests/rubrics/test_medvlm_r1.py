"""`medvlm-r1`: what its form weighs is an option, for it is not known."""

from collections.abc import Callable

from medgym.messages import render_answer


def test_the_form_weighs_what_is_asked_for(scored: Callable) -> None:
    replies = [render_answer("A", "hm")]
    assert scored("medvlm-r1", replies)["total"] == 1
    assert scored("medvlm-r1,form=0.25", replies)["total"] == 0.25
