"""gRPC services for clients: thin layers that decode, call and encode. Who may is rpc/policy.py's."""
