"""Make the cluster what the assignments say, and say how that goes.

plan.py        what to apply and what to delete, in which order   (pure)
drift.py       whether somebody else changed an object            (pure)
kinds.py       how an object of a kind is doing                   (pure)
conditions.py  what conditions say                                (pure)
progress.py    how far one assignment has come; what is due next  (pure)
queue.py       which workload a worker takes next, and when
reconciler.py  the shell: applies, deletes, reports
"""
