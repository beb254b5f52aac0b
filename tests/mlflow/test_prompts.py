"""Prompts beside models, as the real client keeps them."""

from typing import Any

import mlflow
import pytest
from mlflow import genai
from mlflow.exceptions import RestException

from tests.mlflow.conftest import Space

IS_PROMPT = "mlflow.prompt.is_prompt"


@pytest.fixture
def prompts(space: Space) -> Space:
    """A prompt of two versions, and a model of one."""
    mlflow.set_tracking_uri(space.tracking)
    mlflow.set_registry_uri(space.tracking)
    genai.register_prompt("greet", "Hi {{name}}")
    genai.register_prompt("greet", "Hello {{name}}")
    space.client.create_registered_model("digits")
    space.client.create_model_version("digits", "s3://bucket/digits")
    return space


def test_a_prompt_is_loaded_without_a_version(prompts: Space) -> None:
    for found in (genai.load_prompt("greet"), genai.load_prompt("prompts:/greet@latest")):
        assert found is not None
        assert (found.version, found.template) == (2, "Hello {{name}}")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_latest_is_the_highest_version_in_whatever_stage(prompts: Space) -> None:
    client = prompts.client
    with pytest.raises(RestException, match="Registered Model with name=none not found"):
        client.get_model_version_by_alias("none", "latest")
    client.create_registered_model("empty")
    with pytest.raises(RestException, match="Latest version not found for model empty") as none:
        client.get_model_version_by_alias("empty", "latest")
    assert none.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    for _ in range(2):
        client.create_model_version("digits", "s3://bucket/digits")
    client.transition_model_version_stage("digits", "3", "Archived")
    assert client.get_model_version_by_alias("digits", "Latest").version == "3"
    client.delete_model_version("digits", "3")
    assert client.get_model_version_by_alias("digits", "latest").version == "2"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["digits"]),
        ("name LIKE '%'", ["digits"]),
        ("name = 'greet'", []),
        (f"tags.`{IS_PROMPT}` = 'false'", ["digits"]),
        (f"tags.`{IS_PROMPT}` != 'true'", ["digits"]),
        (f"tags.`{IS_PROMPT}` = 'true'", ["greet"]),
        (f"tags.`{IS_PROMPT}` = 'True' AND name = 'digits'", []),
        (f"tags.`{IS_PROMPT}` != 'false'", ["greet"]),
    ],
)
def test_searches_find_prompts_only_when_asked_for_them(
    prompts: Space, text: str, found: list[str]
) -> None:
    versions = prompts.client.search_model_versions(text)
    assert sorted({version.name for version in versions}) == found
    answer: dict[str, Any] = prompts.call(
        "GET", "registered-models/search", params={"filter": text}
    ).json()
    assert [model["name"] for model in answer["registered_models"]] == found


def test_a_name_belongs_to_a_prompt_or_to_a_model(prompts: Space) -> None:
    tags = [{"key": IS_PROMPT, "value": "true"}]
    for name, given, said in (
        ("digits", [], "Registered Model (name=digits) already exists"),
        ("greet", tags, "Prompt (name=greet) already exists"),
        ("digits", tags, "Tried to create a prompt with name 'digits', but the name is already"),
        ("greet", [], "Tried to create a registered model with name 'greet', but the name is"),
    ):
        body = {"name": name, "tags": given}
        taken = prompts.call("POST", "registered-models/create", json=body).json()
        assert taken["error_code"] == "RESOURCE_ALREADY_EXISTS"
        assert taken["message"].startswith(said)
