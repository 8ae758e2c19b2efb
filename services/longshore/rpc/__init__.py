"""gRPC plumbing shared by all services: servers, channels, interceptors, the table of errors."""
