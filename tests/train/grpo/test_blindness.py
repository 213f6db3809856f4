"""A run whose policy stays blind ends, by that name."""

import pytest

from medgym.metrics.sight import Change, Sight
from medgym.train.grpo.blindness import Blind, BlindnessCheck


def change(answer: float) -> Change:
    return Change({"answer": answer}, {"answer": -answer / 2}, abs(answer))


def test_a_model_that_does_not_move_at_all_ends_it_at_once() -> None:
    with pytest.raises(Blind, match=r"the model is blind: .*fix: "):
        BlindnessCheck(floor=0.01, patience=3).see(Sight((change(0.0),)))


def test_a_run_stops_when_it_stays_below_the_floor() -> None:
    check = BlindnessCheck(floor=0.01, patience=2)
    low, high = Sight((change(0.001),)), Sight((change(0.5),))
    for seen in (low, high, low):  # one above the floor starts the count again
        check.see(seen)
    check.see(Sight(()))  # no trajectory concluded anything: nothing is known
    with pytest.raises(Blind, match=r"went blind: 2 times in a row .* 0.01 nats.*fix: "):
        check.see(low)


def test_a_model_that_is_blind_before_it_learns_stops_at_the_first_look() -> None:
    check = BlindnessCheck(floor=0.01, patience=3)
    low, high = change(0.001), change(0.5)
    check.see(Sight((low, low, low)), first=True)  # three answers may be chance
    check.see(Sight((low, low, low, high)), first=True)
    check = BlindnessCheck(floor=0.01, patience=3)
    check.see(Sight((low,) * 4))  # later it needs patience
    with pytest.raises(Blind, match=r"as good as blind before it learns: each of 4 answers.*fix: "):
        check.see(Sight((low,) * 4), first=True)
