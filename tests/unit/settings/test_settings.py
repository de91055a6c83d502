import stat

import pytest

from llmguard.settings import SettingsInvalidError, load_settings


def test_defaults_need_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    settings = load_settings({})

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8080, 1)
    assert settings.registry == tmp_path / "registry.yaml"
    assert settings.data == tmp_path / "data"
    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700


def test_command_line_wins_over_environment(tmp_path):
    environ = {"LLMGUARD_PORT": "9000", "LLMGUARD_DATA": str(tmp_path / "a"), "LLMGUARD_WORKERS": "3"}
    environ["LLMGUARD_REQUESTS_AT_ONCE"] = "40"

    settings = load_settings(environ, port=9001, data=str(tmp_path / "b"))

    assert (settings.port, settings.data, settings.workers) == (9001, tmp_path / "b", 3)
    assert settings.requests_at_once == 40


def test_secret_is_made_once_and_kept_for_the_owner_only(tmp_path):
    first = load_settings({"LLMGUARD_DATA": str(tmp_path)})
    second = load_settings({"LLMGUARD_DATA": str(tmp_path)})

    assert first.secret == second.secret
    assert len(first.secret) == 64
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_secret_is_not_shown(tmp_path):
    settings = load_settings({"LLMGUARD_DATA": str(tmp_path), "LLMGUARD_SECRET": "correct horse battery"})

    assert settings.secret == b"correct horse battery"
    assert "correct horse" not in repr(settings)


def test_previous_secrets_come_from_the_variable_or_else_from_the_file_and_are_not_shown(tmp_path):
    (tmp_path / "secret.previous").write_text("the secret of spring\nthe secret of winter\n")
    environ = {"LLMGUARD_DATA": str(tmp_path)}

    by_file = load_settings(environ)
    by_variable = load_settings(environ | {"LLMGUARD_SECRET_PREVIOUS": "the secret of summer, the secret of june"})

    assert by_file.previous_secrets == (b"the secret of spring", b"the secret of winter")
    assert by_variable.previous_secrets == (b"the secret of summer", b"the secret of june")
    assert "spring" not in repr(by_file)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"LLMGUARD_SECRET": "short"}, "LLMGUARD_SECRET"),
        ({"LLMGUARD_SECRET_PREVIOUS": "a secret of before,short"}, "LLMGUARD_SECRET_PREVIOUS"),
        ({"LLMGUARD_PORT": "eighty"}, "LLMGUARD_PORT"),
        ({"LLMGUARD_PORT": "70000"}, "LLMGUARD_PORT"),
        ({"LLMGUARD_WORKERS": "0"}, "LLMGUARD_WORKERS"),
        ({"LLMGUARD_STATE_URL": "redis://localhost"}, "LLMGUARD_STATE_URL"),
    ],
    ids=["short secret", "short previous secret", "no number", "port too high", "no workers", "other ledger"],
)
def test_unusable_setting_is_named(tmp_path, environ, named):
    with pytest.raises(SettingsInvalidError, match=named):
        load_settings({"LLMGUARD_DATA": str(tmp_path)} | environ)


def test_data_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsInvalidError, match="data folder"):
        load_settings({"LLMGUARD_DATA": str(tmp_path / "file" / "data")})


def test_damaged_secret_file_is_refused(tmp_path):
    (tmp_path / "secret").write_text("x")

    with pytest.raises(SettingsInvalidError, match="damaged"):
        load_settings({"LLMGUARD_DATA": str(tmp_path)})


def test_unreadable_secret_file_is_refused(tmp_path):
    (tmp_path / "secret").mkdir()

    with pytest.raises(SettingsInvalidError, match="cannot be read"):
        load_settings({"LLMGUARD_DATA": str(tmp_path)})


def test_traces_are_encrypted_only_with_a_secret_from_elsewhere(tmp_path):
    wanted = {"LLMGUARD_TRACES_ENCRYPTION": "true"}
    with pytest.raises(SettingsInvalidError, match="LLMGUARD_SECRET is not set"):
        load_settings(wanted, data=str(tmp_path / "data"))
    with pytest.raises(SettingsInvalidError, match="must be true or false"):
        load_settings({"LLMGUARD_TRACES_ENCRYPTION": "yes"}, data=str(tmp_path / "data"))

    settings = load_settings(wanted | {"LLMGUARD_SECRET": "a secret from a vault"}, data=str(tmp_path / "data"))

    assert settings.at_rest.encrypts
    assert len(settings.at_rest.keys) == 1
    assert settings.at_rest.keys[0].hex() not in repr(settings) + repr(settings.at_rest)


def test_how_many_traces_may_wait_is_a_setting(tmp_path):
    assert load_settings({}, data=str(tmp_path)).spool_limit_bytes == 1 << 30
    assert load_settings({"LLMGUARD_SPOOL_LIMIT_MB": "64"}, data=str(tmp_path)).spool_limit_bytes == 64 << 20
    with pytest.raises(SettingsInvalidError, match="LLMGUARD_SPOOL_LIMIT_MB"):
        load_settings({"LLMGUARD_SPOOL_LIMIT_MB": "1"}, data=str(tmp_path))
