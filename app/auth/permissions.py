"""All permissions there are, and the roles that come with every installation."""

from typing import Literal, get_args

WorkspacePermission = Literal[
    "workspace.read",
    "workspace.write",
    "workspace.delete",
    "roles.read",
    "roles.write",
    "audit.read",
    "experiments.read",
    "experiments.write",
    "runs.read",
    "runs.write",
    "clusters.read",
    "clusters.write",
    "datasets.read",
    "datasets.write",
    "datastores.read",
    "datastores.write",
    "environments.read",
    "environments.write",
    "files.read",
    "files.write",
    "models.read",
    "models.write",
    "deployments.read",
    "deployments.write",
    "deployments.score",
    "deployments.keys",
    "secrets.read",
    "secrets.write",
]
"""What a role gives in one workspace."""

AccountPermission = Literal["account.read", "account.write", "workspaces.create"]
"""What every user may do outside of workspaces: with their own account and its tokens."""

PlatformPermission = Literal[
    "platform.read", "platform.write", "users.read", "users.write", "audit.read_all"
]
"""What administrators may do outside of workspaces."""

Permission = WorkspacePermission | AccountPermission | PlatformPermission

WORKSPACE_PERMISSIONS = frozenset[str](get_args(WorkspacePermission))
ACCOUNT_PERMISSIONS = frozenset[str](get_args(AccountPermission))
PLATFORM_PERMISSIONS = frozenset[str](get_args(PlatformPermission))
ALL_PERMISSIONS = WORKSPACE_PERMISSIONS | ACCOUNT_PERMISSIONS | PLATFORM_PERMISSIONS

READER = frozenset(
    {
        "workspace.read",
        "experiments.read",
        "runs.read",
        "clusters.read",
        "datasets.read",
        "datastores.read",
        "environments.read",
        "files.read",
        "models.read",
        "deployments.read",
    }
)
DATA_SCIENTIST = READER | {
    "experiments.write",
    "runs.write",
    "datasets.write",
    "environments.write",
    "files.write",
    "models.write",
    "deployments.write",
    "deployments.score",
    "deployments.keys",
    "secrets.read",
}
CONTRIBUTOR = DATA_SCIENTIST | {
    "workspace.write",
    "clusters.write",
    "datastores.write",
    "secrets.write",
    "roles.read",
}

BUILT_IN_ROLES: dict[str, frozenset[str]] = {
    "owner": WORKSPACE_PERMISSIONS,
    "contributor": CONTRIBUTOR,
    "data-scientist": DATA_SCIENTIST,
    "reader": READER,
}
"""Roles of every workspace, by name. Their rows hold no permissions: these are what counts."""
