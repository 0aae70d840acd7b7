"""The node agent: reads the GPUs of its node, judges their health, and tells the cluster's agent.

    app.py        the composition root
    settings.py   what can be set
    worker.py     a thread for the driver's calls, which block and may hang
    collector.py  when what is read
    watch.py      from readings and events to what is told       (pure)
    uplink.py     the session with the cluster's agent
    metrics.py    what Prometheus is shown, if it is wanted
    series.py     the numbers of a reading among that, by name   (data)

It holds no Kubernetes client and needs no rights in the API server.
"""
