"""Which server gets which token."""

import json
import stat
from pathlib import Path

import pytest

from trainwright.errors import NotConfigured
from trainwright.settings import UserSettings, clean_url, find_place

SERVER, OTHER = "https://here.example:8470", "https://elsewhere.example"


@pytest.fixture
def user(tmp_path: Path) -> UserSettings:
    """Return settings with a token for the server."""
    user = UserSettings(tmp_path / "settings")
    user.log_in(SERVER, "twt_kept")
    return user


def write_config(folder: Path, endpoint: str) -> Path:
    """Write the client file of a workspace; returns a folder below it."""
    below = folder / "project" / "src"
    below.mkdir(parents=True)
    content = {"workspace_name": "team", "endpoint": endpoint}
    (folder / "project" / "config.json").write_text(json.dumps(content))
    return below


def test_the_token_that_is_kept_goes_to_its_server(user: UserSettings, tmp_path: Path) -> None:
    folder = write_config(tmp_path, SERVER)
    place = find_place(user=user, folder=folder, environment={})
    assert (place.url, place.token, place.workspace) == (SERVER, "twt_kept", "team")


def test_a_folder_cannot_name_the_server_that_gets_a_token(
    user: UserSettings, tmp_path: Path
) -> None:
    folder = write_config(tmp_path, OTHER)
    place = find_place(user=user, folder=folder, environment={})
    assert (place.url, place.token) == (OTHER, "")
    with pytest.raises(NotConfigured, match="not for which server"):
        find_place(user=user, folder=folder, environment={"TRAINWRIGHT_TOKEN": "twt_variable"})


def test_the_token_that_is_set_goes_to_a_server_that_the_user_has_named(
    user: UserSettings, tmp_path: Path
) -> None:
    variable = {"TRAINWRIGHT_TOKEN": "twt_variable"}
    for url, folder in ((OTHER, write_config(tmp_path, OTHER)), (None, tmp_path)):
        place = find_place(url=url, user=user, folder=folder, environment=variable)
        assert (place.url, place.token) == (url or SERVER, "twt_variable")


def test_variables_come_before_files(user: UserSettings, tmp_path: Path) -> None:
    variables = {
        "TRAINWRIGHT_URL": OTHER,
        "TRAINWRIGHT_TOKEN": "twt_variable",
        "TRAINWRIGHT_WORKSPACE": "mine",
    }
    folder = write_config(tmp_path, SERVER)
    place = find_place(user=user, folder=folder, environment=variables)
    assert (place.url, place.token, place.workspace) == (OTHER, "twt_variable", "mine")


def test_the_settings_are_the_users_alone(user: UserSettings) -> None:
    assert stat.S_IMODE(user.path.stat().st_mode) == 0o600
    user.path.chmod(0o644)
    user.use_workspace(SERVER, "team")
    assert stat.S_IMODE(user.path.stat().st_mode) == 0o600


def test_logging_out_forgets_the_token(user: UserSettings) -> None:
    assert user.log_out(SERVER)
    assert not user.log_out(SERVER)
    assert "twt_kept" not in user.path.read_text()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("host.example", "https://host.example"),
        ("http://Host:8470/", "http://host:8470"),
        ("https://host/prefix/", "https://host/prefix"),
    ],
)
def test_an_address_is_kept_in_one_form(given: str, kept: str) -> None:
    assert clean_url(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "ftp://host",
        "https://",
        "https://user:x@host",
        "http://h?x=1",
        "http://[::1",
        "http://h:99999",
        "http://a b",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(NotConfigured):
        clean_url(given)
