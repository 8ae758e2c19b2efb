"""gRPC plumbing shared by all services: servers, channels, interceptors, the table of errors."""

import os

# Read when gRPC begins. Our processes fork only to start other programs, and what gRPC does in a
# child to go on there can crash it before it becomes that program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
