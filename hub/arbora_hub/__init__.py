"""The hub: accepts sessions from agents and child hubs."""
