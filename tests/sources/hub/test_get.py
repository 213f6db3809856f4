"""`medgym cases get`: the real client against a hub on the loopback."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medgym.cli import main
from medgym.commands.cases.app import app
from medgym.errors import RunError, UserError
from medgym.sources.card import PublishedFile
from medgym.sources.hub.record import Record
from tests.serving.hub import TOKEN, Faults, Hub
from tests.sources.hub.pears import COMMIT, LARGE, Pears, get


def test_a_data_set_is_fetched_and_read(client: Any, folder: Path, tmp_path: Path) -> None:
    said = get(tmp_path / "data")
    assert "CC BY 4.0" in said
    copy = tmp_path / "data" / "pears"
    hard = "no easy names/a b%20c#d?e..png"
    for path in ("test.csv", "data/pears.zip", "key.txt", "README.md", hard):
        assert (copy / path).read_bytes() == (folder / path).read_bytes()
    assert {path.name for path in copy.iterdir()} == {
        *("test.csv", "data", "no easy names", "key.txt"),
        *("README.md", "LICENCE.txt", "medgym.json"),
    }
    assert "CC BY 4.0" in (copy / "LICENCE.txt").read_text()
    found = Pears(data=str(tmp_path / "data")).cases("test")
    assert [case.answer for case in found] == ["conference", "williams"]


def test_json_says_what_came(client: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["cases", "get", "pears", "--data", str(tmp_path / "data"), "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["commit"], said["fetched"]) == (COMMIT, 5)
    sums = {each["path"]: each.get("sha256") for each in said["files"]}
    assert sums["data/pears.zip"] == hashlib.sha256(LARGE).hexdigest()
    assert sums["key.txt"] == hashlib.sha256(b"the key\n").hexdigest()
    assert "CC BY 4.0" in err


def test_a_whole_copy_is_not_fetched_again(hub: Hub, client: Any, tmp_path: Path) -> None:
    get(tmp_path)
    count = len(hub.gets("pears.zip"))
    assert "0 bytes to fetch" in get(tmp_path)
    assert len(hub.gets("pears.zip")) == count
    (tmp_path / "pears" / "data" / "pears.zip").write_bytes(b"cut")
    get(tmp_path)
    assert (tmp_path / "pears" / "data" / "pears.zip").read_bytes() == LARGE


def test_an_optional_file_joins_a_whole_copy(hub: Hub, client: Any, tmp_path: Path) -> None:
    get(tmp_path)
    hub.faults["extra/much.bin"] = Faults(status=[503])
    with pytest.raises(RunError, match="HTTP 503"):
        get(tmp_path, "extra/*")
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2  # it is still a whole copy
    get(tmp_path, "extra/much.bin")
    assert (tmp_path / "pears" / "extra" / "much.bin").is_file()
    with pytest.raises(UserError, match=r"no optional file 'apples'.*extra/much\.bin"):
        get(tmp_path, "apples")


def test_only_the_named_files_are_fetched(client: Any, tmp_path: Path) -> None:
    get(tmp_path, "--only", "data/pears.zip", "key.txt")
    there = {path.name for path in (tmp_path / "pears").rglob("*") if path.is_file()}
    assert there == {"pears.zip", "key.txt", "README.md", "LICENCE.txt", "medgym.json"}
    with pytest.raises(UserError, match=r"has no test\.csv, so it is no whole copy"):
        Pears(data=str(tmp_path)).cases("test")
    with pytest.raises(UserError, match=r"--only names no file.*test\.csv"):
        get(tmp_path, "--only")


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_from_elsewhere_is_held_to_the_card(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    right = hashlib.new(kind, b"the key\n").hexdigest()
    for given, refused in (("0" * len(right), True), (right, False)):
        files = [replace(f, **{kind: given}) if f.url else f for f in Pears.card.files]
        client.setattr(Pears, "card", replace(Pears.card, files=tuple(files)))
        if refused:
            with pytest.raises(RunError, match=rf"key\.txt of pears.*{kind}"):
                get(tmp_path)
        else:
            get(tmp_path)
    hub.elsewhere.clear()
    with pytest.raises(RunError, match=r"elsewhere/key\.txt answered with HTTP 404"):
        get(tmp_path)


def test_a_file_that_is_not_the_counted_one_is_refused(
    client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = (replace(Pears.card.files[0], size=7), *Pears.card.files[1:])
    client.setattr(Pears, "card", replace(Pears.card, files=files))
    with pytest.raises(UserError, match=r"test\.csv of pears .* 50 bytes \(expected 7\)"):
        get(tmp_path)


def test_files_that_were_put_there_by_hand_stay(
    hub: Hub, client: Any, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "pears")
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2
    get(tmp_path)
    assert [headers["path"] for headers in hub.gets("pears.zip")] == []
    shutil.rmtree(tmp_path / "pears")
    (tmp_path / "pears").mkdir()
    (tmp_path / "pears" / "test.csv").write_text("my own")
    with pytest.raises(UserError, match=r"test\.csv is another file .*move it away"):
        get(tmp_path)
    assert (tmp_path / "pears" / "test.csv").read_text() == "my own"


def test_a_folder_that_cannot_hold_a_copy_is_refused(client: Any, tmp_path: Path) -> None:
    (tmp_path / "pears").write_text("a file")
    with pytest.raises(UserError, match="pears is no folder"):
        get(tmp_path)
    (tmp_path / "other").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to .*other/pears"):
        get(tmp_path / "other")
    record = Record("apples", "main", whole=True)
    (tmp_path / "third" / "pears").mkdir(parents=True)
    record.write(tmp_path / "third" / "pears")
    with pytest.raises(UserError, match="holds a copy of apples"):
        get(tmp_path / "third")
    (tmp_path / "third" / "pears" / "medgym.json").write_text("{")
    with pytest.raises(UserError, match=r"medgym\.json is not what medgym cases get writes"):
        get(tmp_path / "third")


def test_what_cannot_be_fetched_is_one_line(
    hub: Hub, client: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"orchard/pears has no revision 'v9'.*--revision main"):
        get(tmp_path, "--revision", "v9")
    client.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        get(tmp_path)
    client.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    client.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"cannot reach http://127\.0\.0\.1:9 .*check the network"):
        get(tmp_path)
    client.setenv("HF_ENDPOINT", hub.url)
    hub.repos["orchard/pears"].files[COMMIT].pop("test.csv")
    with pytest.raises(UserError, match=r"has no test\.csv at revision"):
        get(tmp_path)
    hub.repos["orchard/pears"].files[COMMIT]["test.csv"] = b""
    hub.repos["orchard/pears"].files[COMMIT]["data/../../x.zip"] = b"PK"
    client.setattr(
        Pears,
        "card",
        replace(Pears.card, files=(PublishedFile("test.csv"), PublishedFile("**/*.zip"))),
    )
    with pytest.raises(UserError, match="would lie outside"):
        get(tmp_path)
    hub.repos.clear()
    with pytest.raises(UserError, match="has no data set orchard/pears, or it is private"):
        get(tmp_path)
    with pytest.raises(UserError, match="published data set 'phantom'"):
        CliRunner().invoke(app, ["get", "phantom"], catch_exceptions=False)
    assert not (tmp_path / "pears").exists()


def test_a_gated_set_wants_a_token_which_stays_with_the_hub(
    hub: Hub, client: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    hub.publish("orchard/pears", folder, COMMIT, gated=True)
    for token in (None, "hf_of_a_stranger"):
        if token:
            client.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match=r"pears is gated.*accept the terms.*hf auth login"):
            get(tmp_path)
    client.setenv("HF_TOKEN", TOKEN)
    hub.asked.clear()
    get(tmp_path)
    for _, path, headers in hub.asked:
        on_the_hub = path.startswith(("/api/", "/datasets/"))
        assert ("authorization" in {name.lower() for name in headers}) == on_the_hub, path


def test_a_repository_does_not_replace_what_is_written_beside_its_files(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = hub.repos["orchard/pears"].files[COMMIT]
    files |= {"LICENCE.txt": b"another", "LICENCE": b"theirs", "medgym.json": b"{}"}
    get(tmp_path)
    copy = tmp_path / "pears"
    assert "CC BY 4.0" in (copy / "LICENCE.txt").read_text()
    assert (copy / "LICENCE").read_bytes() == b"theirs"
    card = replace(Pears.card, files=(PublishedFile("*"),))
    client.setattr(Pears, "card", card)
    with pytest.raises(UserError, match="which medgym itself writes into a copy"):
        get(tmp_path)


def test_results_on_another_revision_say_so(hub: Hub, client: Any, tmp_path: Path) -> None:
    get(tmp_path)
    assert Pears(data=str(tmp_path)).notes("test") == ()
    get(tmp_path, "--revision", "main")
    (said,) = Pears(data=str(tmp_path)).notes("test")
    assert said == f"the copy of pears is of revision main, and not of {COMMIT}, which was counted"


def test_a_full_disk_is_known_before_the_download(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    client.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"pears needs 320 kB more in .*, and 1 MB are free"):
        get(tmp_path)
    assert not hub.gets("pears.zip")


def test_a_tree_of_many_pages(hub: Hub, client: Any, tmp_path: Path) -> None:
    hub.page = 2
    get(tmp_path)
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2


def test_the_card_is_printed(client: Any, capsys: Any) -> None:
    assert main(["cases", "card", "pears"]) == 0
    said = capsys.readouterr().out
    for part in ("CC BY 4.0", COMMIT, "A. Gardener", "2 rows", "each picture"):
        assert part in said
    assert main(["cases", "card", "--json"]) == 0
    assert "pears" in [each["name"] for each in json.loads(capsys.readouterr().out)]
