"""Whether a call is allowed: an explicit deny wins, then an allow; else it is not."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.access.pattern import Context
from longshore.domain.access.policy import Policy
from longshore.domain.errors import PermissionDenied

ACCESS_DENIED = "AccessDeniedException"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what decided."""

    allowed: bool
    #: Policy and statement; empty if none says anything of the call.
    policy: str = ""
    statement: str = ""

    def reason(self, action: str) -> str:
        """In the words that AWS has for it."""
        if self.allowed:
            return f"statement {self.statement} of the policy {self.policy} allows it"
        if self.policy:
            return "with an explicit deny in an identity-based policy"
        return f"because no identity-based policy allows the {action} action"


def decide(policies: Sequence[Policy], action: str, resource: str, context: Context) -> Decision:
    """Decides on one action on one resource.

    Args:
        policies: all of the user's and of its groups.
        action: as in `batch:SubmitJob`.
        resource: its ARN, or `*`.
        context: what the call says, by condition keys in lower case.
    """
    allowed: Decision | None = None
    for policy in policies:
        for statement in policy.statements:
            if statement.is_allow and allowed is not None:
                continue
            if not statement.applies(action, resource, context):
                continue
            if not statement.is_allow:
                return Decision(False, policy.name, statement.name)
            allowed = Decision(True, policy.name, statement.name)
    return allowed or Decision(False)


def decide_any(
    policies: Sequence[Policy], action: str, resources: Sequence[str], context: Context
) -> Decision:
    """Decides on something that has several names: denied by one it is denied by all.

    Args:
        policies: all of the user's and of its groups.
        action: as in `batch:SubmitJob`.
        resources: one or more ARNs of the same thing, or of what it is in.
        context: what the call says.
    """
    found = Decision(False)
    for resource in resources:
        decision = decide(policies, action, resource, context)
        if decision.policy and not decision.allowed:
            return decision
        if decision.allowed and not found.allowed:
            found = decision
    return found


def is_possible(policies: Sequence[Policy], action: str) -> bool:
    """Whether an action may be allowed at all, on some resource."""
    return any(
        statement.is_allow and statement.is_about(action)
        for policy in policies
        for statement in policy.statements
    )


def denied(user_arn: str, action: str, resource: str, decision: Decision) -> PermissionDenied:
    """The refusal, in the words that clients of AWS parse."""
    return PermissionDenied(
        f"User: {user_arn} is not authorized to perform: {action} on resource: {resource} "
        f"{decision.reason(action)}",
        code=ACCESS_DENIED,
        action=action,
        resource=resource,
    )
