"""Who may join: the hub's CA (authority.py), join tokens and certificates (enrollment.py), the RPCs."""
