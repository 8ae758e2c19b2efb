"""Volumes on file systems of the network (`efsVolumeConfiguration`), as the engine mounts them.

By the engine's own `local` driver and NFS, without a helper on the machine. So what needs one is
refused: encryption in transit, and with it access points and IAM. Whose file system an id means is
the instance's to say (LONGSHORE_FILE_SYSTEMS); those that it does not name are Amazon EFS's, by
their names in the region.

An engine mounts such a volume when the container starts. Each has a name of its own, which carries
the volume's, so that what the engine says of it can be told by that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longshore.v1 import container_pb2

#: As AWS recommends for EFS.
_OPTIONS = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport"


@dataclass(frozen=True, slots=True)
class FileSystems:
    """Where file systems are."""

    region: str = "us-east-1"
    #: Host and directory of those that are not Amazon EFS's, by id.
    exports: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def driver_config(self, volume: container_pb2.EFSVolumeConfiguration) -> dict[str, Any]:
        """The engine's driver and its options for a volume."""
        host, path = self._server(volume)
        return {
            "Name": "local",
            "Options": {"type": "nfs", "o": f"addr={host},{_OPTIONS}", "device": f":{path}"},
        }

    def refusal(self, volume: container_pb2.EFSVolumeConfiguration, said: str) -> str:
        """Why a volume could not be mounted, of all that an engine said, and where it was sought.

        What engines say begins with their own paths and the options above, which are longer than
        what is kept of a reason; the cause is at the end.
        """
        for before in (f"{_OPTIONS}: ", "/_data': ", "network volume address: "):
            said = said.rpartition(before)[2]
        file_system = volume.file_system_id
        host, path = self._server(volume)
        if file_system in self.exports:
            return f"{said}; {file_system} is {host}:{path}"
        return f"{said}; LONGSHORE_FILE_SYSTEMS does not name {file_system}, so it is {host}:{path}"

    def _server(self, volume: container_pb2.EFSVolumeConfiguration) -> tuple[str, str]:
        """The host, and the directory there."""
        file_system = volume.file_system_id
        host, root = self.exports.get(
            file_system, (f"{file_system}.efs.{self.region}.amazonaws.com", "/")
        )
        below = volume.root_directory.strip("/")
        return host, f"{root.rstrip('/')}/{below}" if below else root


#: Nothing but Amazon EFS's, in the region that is the default.
AMAZON = FileSystems()
