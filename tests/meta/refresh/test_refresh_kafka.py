"""The trainer reads the Kafka section that the worker reads, and says in one line what is wrong with it."""

import pytest

from meta.refresh.kafka import kafka_settings, open_admin
from schemas.errors import BrokerError, ConfigurationError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sections_of_the_worker_are_let_pass_and_others_are_not(elsewhere, monkeypatch):
    (elsewhere / "fewstep.toml").write_text("[kafka]\ntopic_prefix = 'x-'\n[state]\nwindow = 5\n")
    assert kafka_settings(topic_prefix=None).topic_prefix == "x-"
    monkeypatch.setenv("FEWSTEP_KAFAK__TOPIC_PREFIX", "y-")
    with pytest.raises(ConfigurationError, match="FEWSTEP_KAFAK__TOPIC_PREFIX is no setting"):
        kafka_settings()
    monkeypatch.delenv("FEWSTEP_KAFAK__TOPIC_PREFIX")
    (elsewhere / "fewstep.toml").write_text("[kafak]\ntopic_prefix = 'x-'\n")
    with pytest.raises(ConfigurationError, match=r"kafak of fewstep\.toml is no setting"):
        kafka_settings()


@pytest.mark.parametrize(
    ("servers", "said"), [("127.0.0.1:1", r"unreachable \(connection refused\): start it"), ("host", "not host:port")]
)
def test_an_unreachable_broker_is_told_as_by_other_commands(servers, said):
    with pytest.raises(BrokerError, match=said), open_admin(kafka_settings(bootstrap_servers=servers)):
        pass
