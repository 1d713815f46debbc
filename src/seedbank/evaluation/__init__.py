"""The benchmark: methods by kinds of the shipped model, at equal cost, judged by an auditor that none of them knows.

In: methods, problems, budgets. Out: rows, tables, plots. Methods that only the benchmark runs live here: engines
without gradients, baselines, fine-tunings. Nothing of the product needs it but the command ``seedbank bench``.
"""
