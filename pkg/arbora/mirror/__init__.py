"""The two-map sync: one algorithm for everything that crosses a link. No I/O, no clock.

    Outbox.put -> next_batch -> (the wire) -> Inbox.apply -> ack -> (the wire) -> Outbox.ack
                                   cut: Outbox.resume(Inbox.cursor)

`records.py` holds the plain data, `outbox.py` the sender, `inbox.py` the receiver, `exchange.py` one end
of a session: both lanes of both maps.
"""
