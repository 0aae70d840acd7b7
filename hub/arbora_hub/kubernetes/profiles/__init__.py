"""ClusterProfiles (Cluster Inventory API, KEP-4322): one for each member of a Fleet in each of its namespaces.

names.py         what a profile is called, and that two members never share a name
content.py       what a profile says of a member
comparing.py     whether that is what stands there
pacing.py        when it is written
profiles.py      which profiles there should be, and which member each stands for
publisher.py     the rim: writes them, and deletes those that nothing wants
clustersets.py   the rim: labels of namespaces
kept.py          the rim: decisions about names, in the hub's store
"""
