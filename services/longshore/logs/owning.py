"""Whether who calls may read a log: where that depends on whose job it is of, submission knows."""

from longshore.admission.asked import Asking
from longshore.domain.arn import Arns
from longshore.domain.log_group import JOBS
from longshore.rpc.kept import Kept
from longshore.rpc.permission import by, current_user, demand


class Owners:
    """Finds out whose job a log is of, once for each."""

    def __init__(self, asking: Asking, arns: Arns) -> None:
        """Asks submission.

        Args:
            asking: how.
            arns: of the installation.
        """
        self._found: Kept[str, tuple[str, str]] = Kept(asking.submitter)
        self._arns = arns

    async def check(self, group: str, stream: str) -> None:
        """Checks that the caller may read a log.

        Args:
            group: its group, by its name or ARN; empty: that of jobs.
            stream: its name.

        Raises:
            PermissionDenied: he may not.
            Unavailable: it cannot be found out.
        """
        user = current_user()
        if user is None:
            return
        group = group.rpartition(":log-group:")[2].removesuffix(":*") or JOBS
        names = [self._arns.log_stream(group, stream), self._arns.log_group(group)]
        said = {}
        if user.principal.asks_for_submitters:
            found = await self._found.find(stream.rpartition("/")[2])
            if found is not None:
                queue, submitter = found
                names.append(self._arns.job_queue(queue))
                said = by(submitter)
        demand(names, said)
