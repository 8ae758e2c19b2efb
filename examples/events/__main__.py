"""A receiver of events: keeps what it is told of jobs, tasks, hosts and instances, and prints it.

Each event becomes an item of a table, one for each thing, with the time of each of its states; what
comes twice, or late, changes nothing that is newer. A call that is not signed by the secret is
refused. The table is a file of SQLite, where `json_extract` asks for members.

    longshore up --detach       # with LONGSHORE_EVENTS_PRIVATE_TARGETS=allow, for it listens here
    python -m examples.events --port 8080 --secret whsec_... --table items.db
"""

import argparse
import base64
import hashlib
import hmac
import json
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

Json = dict[str, Any]
KEPT_DAYS = 30
SKEW_SECONDS = 300
BODY_BYTES = 1_048_576


def item_of(event: Json) -> tuple[str, str, str, Json] | None:
    """What an event says: table, id, state, and members; None of what is kept in no table."""
    detail, kind = event["detail"], event["detail-type"]
    match kind, detail.get("eventName"):
        case "Batch Job State Change", _:
            named = ("jobName", "jobQueue", "jobDefinition")
            members = {name[0].upper() + name[1:]: detail[name] for name in named}
            return "jobs", detail["jobId"], detail["status"], members
        case "EC2 Instance State-change Notification", _:
            return "instances", detail["instance-id"], detail["state"].replace("-", ""), {}
        case "AWS API Call via CloudTrail", "RunTask":
            asked = detail["requestParameters"]
            [override] = asked["overrides"]["containerOverrides"]
            set_ = {entry["name"]: entry["value"] for entry in override["environment"]}
            members = {
                "JobId": set_["AWS_BATCH_JOB_ID"],
                "JobAttempt": set_["AWS_BATCH_JOB_ATTEMPT"],
                "CEName": environment_of(asked["cluster"]),
                "ECSCluster": asked["cluster"].rpartition("/")[2],
                "TaskDefinition": asked["taskDefinition"],
            }
            return "tasks", detail["responseElements"]["tasks"][0]["taskArn"], "RunTask", members
        case "ECS Task State Change", _:
            return "tasks", detail["taskArn"], detail["lastStatus"], {}
        case "AWS API Call via CloudTrail", (
            "RegisterContainerInstance" | "DeregisterContainerInstance" as name
        ) if "errorCode" not in detail:
            instance = detail["responseElements"]["containerInstance"]
            cluster = detail["requestParameters"]["cluster"]
            members = {
                "InstanceId": instance["ec2InstanceId"],
                "CEName": environment_of(cluster),
                "ECSCluster": cluster.rpartition("/")[2],
            }
            return "hosts", instance["containerInstanceArn"], name, members
    return None


def environment_of(cluster: str) -> str:
    """The compute environment that a cluster belongs to."""
    return cluster.rpartition("/")[2].partition("_Batch")[0]


class Table:
    """Items in a file, one for each thing that events tell of."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS items (kind, id, item, PRIMARY KEY (kind, id))"
        )
        self._lock = Lock()

    def upsert(self, event: Json) -> str | None:
        """Takes in an event; a line for what it says, None if nothing."""
        found = item_of(event)
        if found is None:
            return None
        kind, ident, state, members = found
        with self._lock, self._db:
            known = self._db.execute("SELECT item FROM items WHERE kind = ? AND id = ?", found[:2])
            item: Json = json.loads((known.fetchone() or ["{}"])[0])
            states = item.setdefault("States", {})
            before = "".join(f"{name} > " for name in states if name != state)
            states[state] = event["time"]
            item.update(members, Id=ident, Region=event["region"])
            if event["time"] >= item.get("LastEventTime", ""):
                item.update(LastEventTime=event["time"], LastEventType=state)
            item["ExpirationTime"] = int(time.time()) + KEPT_DAYS * 86_400
            row = (kind, ident, json.dumps(item))
            self._db.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", row)
        return f"{event['time']}  {kind:9}  {ident.rpartition('/')[2]}  {before}{state}"


def is_signed(secret: str, headers: Any, body: bytes) -> bool:
    """Whether a call was signed by the secret, lately; see standardwebhooks.com."""
    told = headers.get("webhook-timestamp", "0")
    if not told.isdigit() or abs(time.time() - int(told)) > SKEW_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers.get('webhook-id', '')}.{told}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, one) for one in given)


def handler(table: Table, secret: str) -> type[BaseHTTPRequestHandler]:
    """Answers each call."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length) if 0 <= length <= BODY_BYTES else b""
            status = 401
            if is_signed(secret, self.headers, body):
                status = 200
                if said := table.upsert(json.loads(body)):
                    print(said, flush=True)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing of calls but what they tell."""

    return Handler


def main() -> None:
    """Listens until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--secret", required=True, help="whsec_ and base64 of 24 to 64 bytes")
    parser.add_argument("--table", default="items.db")
    options = parser.parse_args()
    server = ThreadingHTTPServer(
        ("127.0.0.1", options.port), handler(Table(options.table), options.secret)
    )
    print(f"listening at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
