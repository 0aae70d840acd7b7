"""The wire contract, and the script that generates code from it."""
