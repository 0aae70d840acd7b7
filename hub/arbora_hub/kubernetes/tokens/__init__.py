"""AuthTokenRequests: rights in a member and a short-lived token for them, kept in a Secret.

spec.py         what a request asks for                        (pure)
decide.py       what is due for it now                         (pure)
secret.py       the Secret, its kubeconfig and its parts       (pure)
status.py       conditions                                     (pure)
kept.py         what members were made to give, in the hub's store
targets.py      which member stands behind a profile
issuing.py      asks the member, opens what was sealed to the hub, opens a way in
controller.py   follows the requests and does what is due
"""
