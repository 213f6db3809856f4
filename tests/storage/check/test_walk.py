"""What a check looks at: everything in a run but pages, curves and what was set aside."""

from pathlib import Path

from medgym.storage.check.walk import contents


def test_only_a_runs_own_folders_are_passed_by(tmp_path: Path) -> None:
    wanted = {"judged/views/part-00000.parquet", "adapters/viewer/3/adapter_config.json"}
    passed = {"view/index.html", "tensorboard-triage/a.json", "set-aside/a.json", "images/b.json"}
    for name in (*wanted, *passed, "manifest.json", "opinions/a/manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "opinions/a/view").mkdir()
    (tmp_path / "opinions/a/view/data.json").touch()
    found = contents(tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in (*found.parts, *found.others)}
    assert files == wanted | {"manifest.json", "opinions/a/manifest.json"}
