"""GRPO whose episodes are played on Ray: the same trajectories, the same weights."""

from typing import Any

import pytest
import torch

# Beside other tests' clusters its own waits long for a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

pytest.importorskip("ray", reason="Ray is not installed")


def test_ray_plays_what_is_played_here(make_trainer: Any, uneven: Any) -> None:
    made = []
    for where in ({}, {"backend": "ray", "workers": 1}):
        played: list[Any] = []
        trainer = make_trainer(
            rules=uneven, on_step=lambda _, pairs, kept=played: kept.extend(pairs), **where
        )
        trainer.train()
        trainer.close()
        weights = {n: w.clone() for n, w in trainer.model.named_parameters() if w.requires_grad}
        made.append(([(c.id, t.member, t.nodes) for c, t in played], weights))
    (here, mine), (there, theirs) = made
    assert [(each[0], each[1]) for each in there] == [(each[0], each[1]) for each in here]
    # Batches differ with who asks when, and with them the last bits; the first step draws alike.
    for ours, others in zip(here[:4], there[:4], strict=True):
        assert [n.token_ids for n in ours[2]] == [n.token_ids for n in others[2]]
    assert all(torch.allclose(mine[name], weight, atol=1e-3) for name, weight in theirs.items())
