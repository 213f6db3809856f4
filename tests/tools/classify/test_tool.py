"""`classify`: by a classifier with classes, by one that is asked by text, and by gold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import Tool, ToolError, UserError, load
from medgym.gold_tool import Gold
from medgym.imaging.grey import Window
from medgym.imaging.study import Study
from medgym.regions import Region
from medgym.testing import check_tool
from medgym.tool import ToolResult
from medgym.workspace import Workspace

Made = Callable[[str], Path]
SIZES = ((60, 40), (1, 1), (64, 64))


def workspaces() -> list[Workspace]:
    made = []
    for number, (width, height) in enumerate(SIZES):
        values = np.random.default_rng(number).integers(0, 4096, (height, width)).astype(np.uint16)
        made.append(Workspace([Study(values, window=Window(2000, 3000))], view_size=48))
    return made


def classify(**options: Any) -> Tool:
    tool: Tool = load("tools", "classify")(**options)
    return tool


def call(tool: Tool, workspace: Workspace, **arguments: Any) -> ToolResult:
    return tool(tool.parse({"view": 0} | arguments), workspace)


def agrees_in_batches(tool: Tool) -> list[dict[str, float]]:
    calls = [(tool.parse({"view": 0}), workspace) for workspace in workspaces()]
    scores = []
    for result, (args, workspace) in zip(tool.run_many(calls), calls, strict=True):
        assert isinstance(result, ToolResult)
        scores.append({each["label"]: each["score"] for each in result.data["findings"]})
        alone = tool(args, workspace).data["findings"]
        assert scores[-1] == pytest.approx({e["label"]: e["score"] for e in alone}, abs=1e-4)
    return scores


@pytest.mark.parametrize(("name", "labels"), [("vit", ""), ("clip", "nodule;mass;cyst")])
def test_a_batch_says_what_single_calls_say(made: Made, name: str, labels: str) -> None:
    tool = classify(model=str(made(name)), labels=labels)
    for scores in agrees_in_batches(tool):
        assert scores.keys() == {"nodule", "mass", "cyst"}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-3)


def test_several_labels_may_hold_at_once(tmp_path: Path) -> None:
    from tests.tools.checkpoints import vit

    folder = vit(tmp_path / "vit", problem_type="multi_label_classification")
    (first, *_) = agrees_in_batches(classify(model=str(folder)))
    assert sum(first.values()) == pytest.approx(1.5, abs=0.3)  # each near 1/2 with random weights


def test_a_call_chooses_from_labels(made: Made) -> None:
    workspace = workspaces()[0]
    clip = classify(model=str(made("clip")))
    found = call(clip, workspace, labels=["healthy", "ill"]).data["findings"]
    assert {each["label"] for each in found} == {"healthy", "ill"}
    with pytest.raises(ToolError, match="expected labels"):
        call(clip, workspace)
    vit = classify(model=str(made("vit")), top=1)
    result = call(vit, workspace, labels=["Cyst"])
    assert result.text == f"1. cyst {result.data['findings'][0]['score']:.2f}"
    with pytest.raises(ToolError, match="does not know 'ill'"):
        call(vit, workspace, labels=["ill"])


def test_a_classifier_keeps_the_contract(made: Made) -> None:
    check_tool(classify(model=str(made("vit"))), calls=1)


def gold_call(gold: Gold, options: dict[str, Any], **arguments: Any) -> ToolResult:
    tool = classify(**options)
    return tool.with_gold(tool.parse({"view": 0} | arguments), workspaces()[0], gold)


def test_the_oracle_tells_which_kinds_there_are() -> None:
    gold = Gold((Region(label="nodule", box_px=(6, 4, 30, 20)),), 5)
    options = {"backend": "oracle", "labels": "cyst"}
    assert gold_call(gold, options).text == "1. nodule 1.00\n2. cyst 0.00"
    assert gold_call(gold, options, box=[600, 0, 1000, 1000]).text == "1. cyst 0.00\n2. nodule 0.00"
    noised = gold_call(gold, {"backend": "noised", "accuracy": 0.8, "labels": "cyst"})
    assert {each["score"] for each in noised.data["findings"]} <= {0.8, 0.2}
    for hidden in ("label", "place", "count"):
        untold = gold_call(Gold((), 0, frozenset({hidden})), options)
        assert untold.text == "What it shows is not told here."


def test_a_classifier_of_torchxrayvision_from_its_weights(tmp_path: Path) -> None:
    xrv = pytest.importorskip("torchxrayvision")
    import torch

    torch.manual_seed(0)
    network = xrv.models.DenseNet(
        growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8, num_classes=3
    )
    network.pathologies = ["Effusion", "Mass", "Hernia"]
    torch.save(network, tmp_path / "network.pt")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    options = {"backend": "torchxrayvision", "model": str(tmp_path / "network.pt")}
    scores = agrees_in_batches(classify(**options))
    assert scores[0].keys() == {"Effusion", "Mass", "Hernia"}
    options["model"] = str(tmp_path / "weights.pt")
    named = agrees_in_batches(classify(**options, labels="Effusion;Mass;Hernia"))
    assert named == scores
    with pytest.raises(UserError, match="has 3 classes, and 18 have names"):
        call(classify(**options), workspaces()[0])
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    options["model"] = str(tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds no DenseNet"):
        call(classify(**options), workspaces()[0])
    with pytest.raises(UserError, match="neither a file nor one of densenet121-res224-all"):
        classify(backend="torchxrayvision", model="densenet121")
    # As the library itself prepares and reads a radiograph.
    workspace = workspaces()[2]
    picture = np.asarray(workspace.studies[0].render((0, 0, 64, 64), (64, 64)))[..., 0]
    values = xrv.utils.normalize(picture.astype(np.float32)[None], 255)
    values = xrv.datasets.XRayResizer(224)(values)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(values[None])).sigmoid()[0].tolist()
    assert list(scores[2].values()) == pytest.approx(sorted(expected, reverse=True), abs=1e-4)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torchxrayvision")
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "ran").touch, ())

    torch.save(Evil(), tmp_path / "evil.pt")
    tool = classify(backend="torchxrayvision", model=str(tmp_path / "evil.pt"))
    with pytest.raises(UserError, match=r"cannot load the model .*evil\.pt"):
        call(tool, workspaces()[0])
    assert not (tmp_path / "ran").exists()
