import pytest

from meta.config import TrainingConfig, read_config
from schemas.errors import ConfigurationError


def test_without_a_file_the_defaults_hold():
    assert read_config(None) == TrainingConfig()


def test_a_file_overrides_single_fields(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 3\ntaus_days = [5.0]\n")
    assert read_config(path) == TrainingConfig(epochs=3, taus_days=(5.0,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epochs = 0", "epochs is 0"),
        ("epoch = 3", "epoch is 3"),
        ("epochs = ", "write it as TOML"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, text, complaint):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        read_config(path)
    assert "recipe.toml" in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        read_config(tmp_path / "none.toml")
