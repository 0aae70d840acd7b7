"""The accepting side of sessions: who is let in (hello.py, admission.py), one session (session.py), all of them
(registry.py), and the RPC (service.py)."""
