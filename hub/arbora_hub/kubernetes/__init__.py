"""The hub's face in Kubernetes: inventory, credentials and MultiKueue, where it has an API server.

    face.py         starts all of it, or says once that there is none
    features.py     what it is made of
    members.py      what is known of members at any depth
    objects.py      reads and writes objects
    collection.py   keeps one kind mirrored in memory
    controller.py   works on keys one after the other, and again after a failure
    kinds.py        the kinds that are spoken of here

Every folder is one feature: what it decides is pure, and its controller is the rim.
"""
