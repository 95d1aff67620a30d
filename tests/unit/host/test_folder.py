"""Where processes meet, and names that are the same for all who work at one portal."""

import os
from pathlib import Path

import pytest

from worker.host import common_folder, portal_name


def test_the_folder_is_the_users_own_and_the_same_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = common_folder(tmp_path)
    assert folder.name == f"bulklink-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    assert common_folder(tmp_path) == folder
    assert common_folder().parent == Path("/tmp")  # noqa: S108 - the claim


def test_a_folder_that_somebody_else_could_write_to_is_refused(tmp_path: Path) -> None:
    common_folder(tmp_path).chmod(0o777)
    with pytest.raises(OSError, match="only this user can write to"):
        common_folder(tmp_path)


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / f"bulklink-{os.getuid()}").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="only this user can write to"):
        common_folder(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example.com",
        "https://CRM.example.com:443/office",
        "https://crm.example.com./",
    ],
)
def test_one_server_has_one_name_however_it_is_written(url: str) -> None:
    assert portal_name(url) == portal_name("https://crm.example.com")
    assert portal_name(url).startswith("crm.example.com-443-")


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example.com",
        "https://crm.example.com:8443",
        "https://crm-example.com",
        "https://[::1]:443",
        "https://crm.example.org",
    ],
)
def test_other_servers_have_other_names_and_each_is_one_of_a_file(url: str) -> None:
    assert portal_name(url) != portal_name("https://crm.example.com")
    assert "/" not in portal_name(url)
    assert len(portal_name("https://" + "a" * 60 + "." + "b" * 60 + "." + "c" * 60)) < 100
