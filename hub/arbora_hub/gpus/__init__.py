"""GPUs as the devices of this hub's members say, and sums of them.

    members.py   what each member's devices are now
    minute.py    one device over one minute                       (pure)
    classes.py   which class of the sketches a device belongs to  (pure)
    rollup.py    devices of one class added up                    (pure)
    packing.py   minutes of many devices in few bytes             (pure)
    minutes.py   closes a minute: history, and what goes up
    summary.py   sums by class, member, node                      (pure)

Values of single devices stay here, at the hub that owns the member. Hubs above get sums, once a minute.
"""
