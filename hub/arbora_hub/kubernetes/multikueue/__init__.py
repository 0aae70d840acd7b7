"""MultiKueue kept by the hub: from a Fleet to what Kueue needs here and in the members, and who gets a job.

    feature.py      starts it all once Kueue is there
    settings.py     what a Fleet may say
    members.py      what is asked of the rest of the hub
    plan.py         a Fleet and its members -> what has to be there (shards, draining, quotas, objects, workers)
    ownership.py    what has to be there against what is there -> creations, changes, deletions
    controller.py   does them
    asking.py       a Kueue Workload -> what it asks for
    choosing.py     the placement pipeline over the members of a config
    turns.py        whose turn it is, and until when
    nomination.py   how a nomination is written without taking anything from Kueue
    dispatcher.py   follows Workloads and writes nominations

Facts about Kueue are those of VERSION in `kinds.py`.
"""
