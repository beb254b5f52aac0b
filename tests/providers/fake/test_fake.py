"""What is the fake's own: its faults, and that nobody gets it by mistake."""

import pytest
from pydantic import ValidationError

from app.kernel.config import Settings
from app.providers.base import Capacity, NodeSpec, ProviderError
from app.providers.fake.faults import Fault, Verb
from app.providers.fake.provider import FakeProvider

pytestmark = pytest.mark.anyio
_NODE = "tw-run-a1-n0"


def provider(*faults: Fault) -> FakeProvider:
    made = FakeProvider(capacity=Capacity(cores=64.0, memory_bytes=2**40, gpus=8))
    made.faults.add(*faults)
    return made


def spec(name: str = _NODE, network: str | None = None) -> NodeSpec:
    return NodeSpec(
        name=name,
        endpoint="http://127.0.0.1:1",
        token="secret",
        cores=1.0,
        memory_bytes=0,
        network=network,
    )


async def test_a_refused_call_does_nothing_and_the_next_one_succeeds() -> None:
    fake = provider(Fault(Verb.ENSURE, error=ProviderError("full")))

    with pytest.raises(ProviderError, match="full"):
        await fake.ensure(spec())
    assert await fake.list_names() == []

    await fake.ensure(spec())
    assert await fake.is_alive(_NODE)


@pytest.mark.fault(31)
async def test_a_call_whose_answer_is_lost_was_carried_out() -> None:
    fake = provider(Fault(Verb.ENSURE, error=ProviderError("timeout"), is_carried_out=True))

    with pytest.raises(ProviderError, match="timeout"):
        await fake.ensure(spec())

    assert await fake.is_alive(_NODE)


async def test_a_fault_can_be_for_one_node_and_for_ever() -> None:
    fault = Fault(Verb.IS_ALIVE, error=ProviderError("away"), times=None, node="*-n1")
    fake = provider(fault)
    await fake.ensure(spec())

    for _ in range(3):
        with pytest.raises(ProviderError):
            await fake.is_alive("tw-run-a1-n1")
    assert await fake.is_alive(_NODE)
    fake.faults.clear()
    assert not await fake.is_alive("tw-run-a1-n1")


async def test_a_lost_node_leaves_no_trace() -> None:
    fake = provider()
    await fake.ensure(spec(network="tw-run-a1"))

    fake.lose(_NODE)

    assert not await fake.is_alive(_NODE)
    assert (await fake.list_names(), await fake.list_networks()) == ([], [])


def test_no_setting_selects_it() -> None:
    with pytest.raises(ValidationError, match="'process' or 'docker'"):
        Settings.model_validate({"provider": "fake"})
