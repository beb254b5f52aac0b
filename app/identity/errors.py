"""What can be wrong with users, groups and roles."""

from app.kernel.errors import Conflict, Forbidden, NotFound


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no user {name!r}.")


class ServiceAccountNotFound(NotFound):
    """There is no such service account."""

    code = "service_account_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no service account {name!r}.")


class GroupNotFound(NotFound):
    """There is no such group."""

    code = "group_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no group {name!r}.")


class RoleNotFound(NotFound):
    """The workspace has no such role."""

    code = "role_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no role {name!r} in this workspace; GET …/roles lists them.")


class RoleAssignmentNotFound(NotFound):
    """The workspace has no such assignment."""

    code = "role_assignment_not_found"

    def __init__(self, assignment_id: str) -> None:
        super().__init__(f"There is no role assignment {assignment_id!r} in this workspace.")


class NameTaken(Conflict):
    """Somebody or something has this name already."""

    code = "name_taken"


class AdministratorNeeded(Conflict):
    """The installation's own administrator stays as it is."""

    code = "administrator_needed"

    def __init__(self) -> None:
        super().__init__(
            "The user admin, whom the command line makes tokens for, stays an enabled "
            "administrator; revoke its tokens instead."
        )


class LastOwner(Conflict):
    """A workspace has at least one owner."""

    code = "last_owner"

    def __init__(self) -> None:
        super().__init__("This is the workspace's last owner; make somebody else an owner first.")


class RoleInUse(Conflict):
    """Somebody has the role."""

    code = "role_in_use"

    def __init__(self, name: str) -> None:
        super().__init__(f"Somebody has the role {name!r}; delete its assignments first.")


class RoleBuiltIn(Conflict):
    """The role comes with the installation."""

    code = "role_built_in"

    def __init__(self, name: str) -> None:
        super().__init__(f"The role {name!r} is built in; give a custom one another name.")


class BeyondOwnPermissions(Forbidden):
    """Nobody gives what they do not have."""

    code = "beyond_own_permissions"

    def __init__(self, missing: set[str]) -> None:
        super().__init__(
            "Nobody gives or takes away permissions that they do not have themselves; "
            f"missing: {', '.join(sorted(missing))}.",
            extensions={"missing": sorted(missing)},
        )
