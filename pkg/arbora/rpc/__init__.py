"""The only place with grpc options, channels, servers, peer identity, policy and guards."""
