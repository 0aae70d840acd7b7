"""The agent: the process in a member cluster."""
