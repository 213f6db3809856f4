"""Losses by name: settings of a recipe, and one-line errors for what is none."""

import pytest

from medgym.errors import UserError
from medgym.train.dpo.losses import DEFAULT, read_losses
from medgym.train.dpo.tables import images_of, terms_of
from medgym.train.recipe.schema import load_recipe


def test_the_losses_of_the_benchmark_are_settings_of_a_recipe() -> None:
    losses = {loss.name: loss for loss in read_losses(DEFAULT)}
    recipe = load_recipe("mdpo")[0]
    terms = {name: terms_of(loss.recipe(recipe).dpo) for name, loss in losses.items()}
    found = {n: (t.dpo, t.image, t.anchor, t.nll) for n, t in terms.items()}
    assert found == {
        "dpo": (1, 0, 0, 0),
        "dpo+nll": (1, 0, 0, 1),
        "copo": (0, 1, 0, 0),
        "mdpo": (1, 1, 1, 0),
        "mmedpo": (1, 0, 0, 0),
    }
    assert losses["mmedpo"].weight == "score"
    assert [name for name, loss in losses.items() if loss.noised] == ["mmedpo"]
    # What the recipe itself adds to the loss of DPO is not compared.
    mixed = load_recipe("dpo-tiny")[0]
    assert {"loss_type", "loss_weights"} <= mixed.dpo.keys()
    assert not {"loss_type", "loss_weights"} & losses["dpo"].recipe(mixed).dpo.keys()
    # Images are exchanged as the recipe says, where a loss has them, and nothing is left over.
    assert "images" not in losses["dpo"].recipe(recipe).dpo
    assert images_of(losses["copo"].recipe(recipe).dpo).how == "crop"


def test_terms_have_weights_and_losses_have_roles() -> None:
    (loss,) = read_losses(" dpo + nll:0.2 ")
    assert loss.terms == {"dpo": 1.0, "nll": 0.2}
    assert loss.role == "dpo-nll-0-2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no loss is named; fix: name some, such as dpo"),
        ("dpo,mdop", "unknown loss 'mdop'; did you mean 'mdpo'?"),
        ("dpo+nll:-1", "has no weight above 0 for nll"),
        ("dpo+nll:x", "has no weight above 0 for nll"),
        ("dpo+dpo", "or names it twice"),
        ("dpo,mdpo,dpo", "the loss dpo is named twice"),
    ],
)
def test_what_is_no_loss_is_refused_in_a_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_losses(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
