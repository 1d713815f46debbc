"""Airflow's side of seedbank: what the DAG files, the review gate and the plugin share.

In: a run's unchangeable facts, a person's answer. Out: calls of the stages; what they return travels as names, keys and
digests. Nothing else in the package imports Airflow.
"""
