"""MLflow: what people look at of a trial. The evidence lies in the store and the ledger; nothing of it is read back from here.

In: a finished trial, a decision, a release. Out: runs on the configured MLflow server, and the addresses that open them.

============  =====================================================================================
``log``       log a trial, tag it with decisions and its release; safe to repeat, to kill, to race
``contents``  what a trial looks like in MLflow: parameters, metrics, tags, curves and files
``claims``    which run is a trial's, agreed on in the store, for MLflow cannot keep runs unique
``client``    the few requests we make, and what goes wrong with them
``links``     addresses that a browser opens on the run
============  =====================================================================================

Only this package imports MLflow, and only inside functions: it costs seconds.
"""
