"""The executor whose tasks find the heavy libraries imported: forked from where they are, they work, and import none of them again."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CHILD = """
import json, os, sys, threading

from seedbank.orchestration.executor import WarmLocalExecutor, warm

warm()
ahead, threads = set(sys.modules), threading.active_count()
read, write = os.pipe()
if os.fork() == 0:
    import numpy as np
    import torch

    from seedbank.models import load_guard, load_pipeline

    torch.set_num_threads(2)
    pipeline = load_pipeline("parts").pipeline
    latents = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32))
    image = pipeline("a photo of a gear", num_inference_steps=2, latents=latents, output_type="np").images[0]
    late = sorted(set(sys.modules) - ahead)
    os.write(write, json.dumps({"shape": image.shape, "late": late}).encode())
    os._exit(0)
os.close(write)
said = os.read(read, 1_000_000)
_, status = os.wait()
print(json.dumps(json.loads(said) | {"status": status, "threads": threads, "local": WarmLocalExecutor.is_local}))
"""


def test_a_task_forked_from_the_executor_draws_with_what_is_imported() -> None:
    env = os.environ | {"AIRFLOW__CORE__EXECUTOR": "seedbank.orchestration.executor.WarmLocalExecutor"}
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == 0
    assert found["shape"][2] == 3
    assert found["threads"] == 1  # a thread would be lost in the fork
    assert found["local"]  # or `airflow standalone` would take another
    assert len(found["late"]) < 40, found["late"]


def test_airflow_finds_it_by_its_name() -> None:
    from seedbank.demo.home import DemoHome, find_project
    from seedbank.orchestration.executor import WarmLocalExecutor

    home = DemoHome(find_project(), find_project(), 1, 2)
    named = home.environment()["AIRFLOW__CORE__EXECUTOR"]
    assert pkgutil.resolve_name(named) is WarmLocalExecutor
