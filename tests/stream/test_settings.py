"""Flag over environment over file over default; what is wrong is named with its remedy."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.sources import SECTIONS
from stream.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_source_gives_way_to_the_one_above_it(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().kafka.topic_prefix == "fewstep-"
    (elsewhere / "fewstep.toml").write_text('[kafka]\ntopic_prefix = "file-"\nsession_timeout_s = 7\n')
    assert Settings.load().kafka.topic_prefix == "file-"
    monkeypatch.setenv("FEWSTEP_KAFKA__TOPIC_PREFIX", "env-")
    assert Settings.load().kafka.topic_prefix == "env-"
    settings = Settings.load(kafka={"topic_prefix": "flag-", "bootstrap_servers": None})
    assert (settings.kafka.topic_prefix, settings.kafka.session_timeout_s) == ("flag-", 7.0)


def test_event_types_are_declared_as_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSTEP_LIMITS__EVENT_TYPES", '["view", "listen"]')
    assert Settings.load().limits.event_types == ("view", "listen")


@pytest.mark.parametrize(
    ("variable", "value", "setting"),
    [
        ("FEWSTEP_STATE__WINDOW", "many", "state.window"),
        ("FEWSTEP_STATE__STORE", "redis", "state.store"),
        ("FEWSTEP_WORKER__APP_ID", "a b", "worker.app_id"),
        ("FEWSTEP_KAFKA__TOPIC_PREFIX", "a b/", "kafka.topic_prefix"),
    ],
)
def test_a_wrong_value_names_the_setting_and_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, setting: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=rf"{setting} is '{value}'.*{variable} or fewstep.toml"):
        Settings.load()


def test_an_unknown_setting_of_a_section_is_refused(elsewhere: Path) -> None:
    (elsewhere / "fewstep.toml").write_text("[state]\nwindows = 5\n")
    with pytest.raises(ConfigurationError, match=r"state\.windows"):
        Settings.load()


@pytest.mark.parametrize("content", [b"state = [", b"\xff"])
def test_a_file_that_is_no_toml_is_named(elsewhere: Path, content: bytes) -> None:
    (elsewhere / "fewstep.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"fewstep\.toml"):
        Settings.load()


def test_the_sections_are_those_that_both_packages_know() -> None:
    assert tuple(Settings.model_fields) == SECTIONS


def test_a_token_that_is_too_short_is_told_in_characters_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSTEP_WEB__TOKEN", "hush-hush")
    with pytest.raises(ConfigurationError, match=r"web\.token: String should have at least 16 characters") as refused:
        Settings.load()
    assert "hush" not in str(refused.value)


def test_an_unknown_section_of_the_file_is_refused(elsewhere: Path) -> None:
    (elsewhere / "fewstep.toml").write_text("[kafak]\ntopic_prefix = 'x-'\n")
    with pytest.raises(ConfigurationError, match="kafak"):
        Settings.load()


def test_a_list_in_the_environment_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSTEP_LIMITS__EVENT_TYPES", "view,listen")
    with pytest.raises(ConfigurationError, match=r"limits.*JSON, such as FEWSTEP_LIMITS__EVENT_TYPES"):
        Settings.load()


def test_an_unknown_section_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSTEP_KAFAK__TOPIC_PREFIX", "x-")
    with pytest.raises(ConfigurationError, match=r"FEWSTEP_KAFAK__TOPIC_PREFIX is no setting.*kafka, model"):
        Settings.load()


def test_other_variables_with_the_prefix_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSTEP_CACHE_DIR", "/somewhere")
    assert Settings.load().model.name == "default"


def test_no_section_can_be_changed_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().state.window = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "needs sasl_username and sasl_password"),
        ({"sasl_username": "u", "sasl_password": "hush-hush"}, "not used with PLAINTEXT"),
        ({"ssl_ca_file": "ca.pem"}, "not used with PLAINTEXT"),
        ({"ssl_certificate_file": "c.pem"}, "ssl_certificate_file is not used with PLAINTEXT"),
        ({"security_protocol": "SSL", "ssl_key_file": "k.pem"}, "ssl_key_file needs ssl_certificate_file"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password": ["hush-hush"]}, "sasl_password"),
    ],
)
def test_security_settings_that_do_not_belong_together_are_refused_without_the_secret(
    given: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        Settings.load(kafka=given)
    assert "hush-hush" not in str(refused.value)


def test_secrets_are_masked_wherever_settings_are_printed() -> None:
    kafka = {"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password": "hush-hush"}
    settings = Settings.load(kafka=kafka, web={"token": "hush-hush-hush-hush"})
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump_json()}"
