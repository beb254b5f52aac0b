"""What a group's role gives, it gives to the members of that group."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from app.auth.service import create_token
from app.kernel.ids import new_id
from app.tables.role import Role, RoleAssignment
from app.tables.user import Group, GroupMember, User
from app.tables.workspace import Workspace
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def user_in_group(api: LiveApi, *, has_role: bool) -> str:
    """Make a user in a group of its own, perhaps with a role here; returns a token."""
    async with api.database.session() as session:
        user = User(id=new_id("usr"), name=new_id("name"))
        group = Group(id=new_id("grp"), name=new_id("name"))
        session.add_all([user, group])
        await session.flush()
        session.add(GroupMember(group_id=group.id, user_id=user.id))
        if has_role:
            here = select(Workspace.id).where(Workspace.name == api.workspace)
            reader = select(Role.id).where(Role.workspace_id.is_(None), Role.name == "reader")
            session.add(
                RoleAssignment(
                    id=new_id("ras"),
                    workspace_id=(await session.scalars(here)).one(),
                    role_id=(await session.scalars(reader)).one(),
                    group_id=group.id,
                )
            )
        _, secret = await create_token(session, name="test", user_id=user.id)
    return secret


async def test_a_group_role_is_for_its_members_alone(api: LiveApi) -> None:
    member = await user_in_group(api, has_role=True)
    stranger = await user_in_group(api, has_role=False)
    transport = httpx2.ASGITransport(api.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        for secret, status in ((member, 200), (stranger, 404)):
            answer = await client.get(
                f"/v1/workspaces/{api.workspace}/runs",
                headers={"Authorization": f"Bearer {secret}"},
            )
            assert answer.status_code == status
