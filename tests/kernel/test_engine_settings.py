"""Settings for several engines that do not go together are refused when they are read."""

import pytest
from pydantic import SecretStr, ValidationError

from app.kernel.config import Settings

ENGINES = {"one": "unix:///var/run/docker.sock", "two": "tcp://10.0.0.2:2376"}
WHOLE = {
    "provider": "docker",
    "docker_engines": ENGINES,
    "image_registry": "registry:5000/runs",
    "node_url": "http://10.0.0.1:8470",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"provider": "process"}, "PROVIDER=docker"),
        ({"image_registry": ""}, "IMAGE_REGISTRY"),
        ({"node_url": ""}, "NODE_URL"),
        ({"docker_engines": ENGINES | {"local": "unix:///x"}}, "'local'"),
    ],
)
def test_what_engines_lack_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        Settings.model_validate(WHOLE | change | {"database_url": "postgresql://a:pass-word@h/d"})

    assert "pass-word" not in str(refused.value)


def test_engines_with_all_they_need_are_taken() -> None:
    settings = Settings.model_validate(WHOLE | {"database_url": SecretStr("postgresql://h/d")})

    assert settings.docker_engines == ENGINES
