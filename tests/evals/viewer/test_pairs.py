"""The page of a folder of pairs: what it is given, and what a real browser shows."""

from pathlib import Path

from medgym.cases import open_cases
from medgym.evals.commands.view import write_page
from medgym.policy import load_policy
from medgym.storage.run_folder import RunFolder
from medgym.train.data.preferences import Pair, PairFolder

from .test_page import CASES, a_run, browser, doms, shown, words


def pairs_of(tmp_path: Path) -> RunFolder:
    """Two pairs of one case and one of another, with their cases."""
    run = a_run(tmp_path / "run", load_policy("scripted:random"), group_size=3)
    held = {(t.case_id, t.member): t for t in run.trajectories}
    cases = {case.id: case for case in open_cases(CASES)}
    first, second, _ = cases
    sides = [(first, 2, 0), (first, 2, 1), (second, 1, 0)]
    pairs = [
        Pair(held[case, one], held[case, other], "outcome", f"<b>why {n}</b>", 0.5, n)
        for n, (case, one, other) in enumerate(sides)
    ]
    return RunFolder(PairFolder.write(tmp_path / "pairs", pairs, run.images, cases).path)


def test_each_pair_is_a_group_of_two_with_why(tmp_path: Path) -> None:
    folder = pairs_of(tmp_path)
    told = shown(folder, "pairs.jsonl")
    members = [[each["member"] for each in group["episodes"]] for group in told["groups"]]
    assert members == [[2, 0], [2, 1], [1, 0]]
    assert [group["pair"]["shared"] for group in told["groups"]] == [0, 1, 2]
    assert {each["side"] for group in told["groups"] for each in group["episodes"]} == {
        "chosen",
        "rejected",
    }
    assert all(told["cases"].values()), "the gold is the folder's own"
    for group in told["groups"]:
        for turn in group["episodes"][0]["parts"][0]["turns"]:
            for _, sha256 in turn["images"]:
                assert (folder.path / "images" / sha256[:2] / f"{sha256}.png").is_file()


@browser
def test_a_browser_shows_the_chosen_beside_the_rejected(tmp_path: Path) -> None:
    folder = pairs_of(tmp_path)
    write_page(folder)
    (page,) = doms(folder, tmp_path, "#group=1")
    text = " ".join(words(page).split())
    assert "3 groups, 6 episodes" in " ".join(page.split())
    assert "outcome: <b>why 1</b> · score 0.5 · margin" in text
    assert "the first 1 messages are shared" in text
    assert text.index("chosen, member 2") < text.index("rejected, member 1")
