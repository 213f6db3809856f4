from dataclasses import replace

from medgym.evals.spending import Price, Spending, price_of, usage_of
from medgym.messages import Usage
from medgym.trajectory import Branch, Node, Trajectory


def played(policy: str, usage: Usage | None = None) -> Trajectory:
    counts = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return Trajectory(
        "a", policy, 0, 0, "text", (), prompt_tokens=counts[0], completion_tokens=counts[1]
    )


def test_each_request_reads_the_conversation_anew() -> None:
    nodes = tuple(
        Node(parent, role, "", token_ids=(1,) * count)
        for parent, role, count in (
            (-1, "user", 10), (0, "assistant", 3), (1, "tool", 5), (2, "assistant", 2),
            (3, "tool", 7),
        )
    )  # fmt: skip
    sampled = Trajectory("a", "hf:x", 0, 0, "sampled", nodes)
    assert usage_of(sampled) == Usage(10 + 18, 3 + 2)
    assert usage_of(played("openai:u#m")) is None
    assert Spending.of([sampled], {}).rows() == []  # its table names its tokens already


def test_a_price_is_of_a_spec_a_model_or_an_adapter() -> None:
    price = Price(1, 2)
    spec = "openai:http://h/v1?tools=native#org/model@triage"
    for name in (spec, "org/model", "triage"):
        assert price_of(spec, {name: price}) is price
    assert price_of(spec, {"model": price}) is None
    assert price.of(Usage(1_000_000, 500_000)) == 2.0
    assert replace(price, cached=0.5).of(Usage(1_000_000, 500_000, 1_000_000)) == 1.5


def test_a_consultation_is_paid_role_by_role() -> None:
    one, other = (played(f"openai:u#{name}", Usage(1_000_000, 0)) for name in "mn")
    whole = Trajectory(
        "a", "consultation:c", 0, 0, "text", (),
        branches=(Branch("triage", -1, one), Branch("attending", -1, other)),
    )  # fmt: skip
    both = {"m": Price(1, 0), "n": Price(4, 0)}
    assert Spending.of([whole], both).as_dict() == {
        "usage": {"prompt_tokens": 2_000_000, "completion_tokens": 0, "episodes": 2, "cost": 5.0}
    }
    lacking = Spending.of([whole], {"m": Price(1, 0)})
    assert lacking.known_cost is None
    assert lacking.rows()[-1] == ("cost", "not known: no price for openai:u#n")


def test_episodes_whose_tokens_nobody_counted_are_told() -> None:
    spent = Spending.of([played("openai:u#m"), played("openai:u#m", Usage(9, 1))], {})
    assert spent.rows()[0] == ("tokens read", "9 (of 1 of 2 episodes)")


def test_the_order_of_episodes_changes_no_digit_of_the_cost() -> None:
    used = [Usage(number, 7 * number, number // 3) for number in (999_983, 31, 1_777, 53, 611_953)]
    episodes = [played("openai:u#m", each) for each in used]
    prices = {"m": Price(2.7, 10.1, 0.3)}
    costs = {Spending.of(episodes[n:] + episodes[:n], prices).known_cost for n in range(5)}
    assert len(costs) == 1
