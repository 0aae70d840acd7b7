"""Rights that come with a token: made in this member as far as its allow-list goes, counted, taken back.

    model.py       what is asked for, as plain data         (no I/O)
    covering.py    whether rules stay below other rules     (no I/O)
    objects.py     the objects of a grant, and reading them (no I/O)
    ledger.py      which grant uses what, and who made it   (no I/O)
    plan.py        what is there, to make, to refuse        (no I/O)
    granter.py     does it, one grant at a time
    wire.py        from and to credential.proto             (no I/O)

One grant: read (`wire`), allowed (`arbora_agent.allow_grants`), looked up, decided (`plan`), written into the
ledger, made. What a crash leaves is on the ledger, so that a repeat or a revocation finds it.
"""
