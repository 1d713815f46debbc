"""Models from a hub, with the real client, against a small hub on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from seedbank.errors import OutsideError, UsageError, VerificationError
from seedbank.models.files import describe, find_model
from seedbank.models.hub import fetch, resolve
from support.hub import TOKEN, Files, Hub, commit, hub, read_folder

pytestmark = pytest.mark.integration

WEIGHTS = bytes(range(256)) * 4096
"""A megabyte of one network."""
JUDGE: Files = {"config.json": b'{"model_type": "dinov2"}', "model.safetensors": WEIGHTS, "README.md": b"# A judge"}


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub() as found:
        yield found


@pytest.fixture
def home(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client is this hub's, and keeps its things here. It reads its environment once, so its constants are set."""
    from huggingface_hub import constants

    home = tmp_path / "home"
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return home


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nobody answers any more."""
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    return lambda: monkeypatch.setattr(constants, "ENDPOINT", closed)


def names(folder: Path) -> set[str]:
    return set(read_folder(folder))


def pipeline_files(folder: Path) -> Files:
    """A tiny Stable Diffusion as it lies on a hub: in two precisions, with what nobody needs beside."""
    from support.pipelines import stable_diffusion

    made = stable_diffusion()
    made.save_pretrained(folder)
    made.save_pretrained(folder, variant="fp16")
    more = {
        "v1-5.safetensors": WEIGHTS,
        "v1-5.ckpt": WEIGHTS,
        "vae_1_0/diffusion_pytorch_model.safetensors": WEIGHTS,
        "unet/diffusion_pytorch_model.non_ema.safetensors": WEIGHTS,
        "unet/diffusion_pytorch_model.bin": WEIGHTS,
        "pipeline.py": b"raise SystemExit",
        "README.md": b"# A model",
    }
    return read_folder(folder) | more


def test_a_pinned_pipeline_is_fetched_once_in_the_form_its_precision_wants_and_loads(
    server: Hub, home: Path, tmp_path: Path
) -> None:
    import torch

    from seedbank.models import load_pipeline

    source = server.add("maker/model", pipeline_files(tmp_path / "model"))
    told: list[tuple[int, int]] = []
    half = fetch(source, "pipeline", precision="bfloat16", progress=lambda done, total: told.append((done, total)))
    sizes = sum(path.stat().st_size for path in half.rglob("*") if path.is_file())
    assert told[-1] == (sizes, sizes)
    assert names(half) >= {
        "model_index.json",
        "tokenizer/tokenizer.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
    }
    weights = {"unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"}
    assert {name for name in names(half) if name.endswith(".safetensors")} == {
        f"{name}.fp16.safetensors" for name in weights
    }
    full = find_model(source, "pipeline")
    assert {name for name in names(full) if name.endswith(".safetensors")} == {
        f"{name}.safetensors" for name in weights
    }
    assert not {name for name in names(half) | names(full) if not name.endswith((".safetensors", ".json", ".txt"))}
    # What both forms share came once.
    assert len(set(server.asked_for())) == len(server.asked_for())
    server.seen.clear()
    loaded, halved = load_pipeline(source), load_pipeline(source, dtype=torch.bfloat16)
    assert (loaded.card.name, loaded.card.source, loaded.card.revision) == ("maker/model", source, commit(0))
    assert halved.pipeline.unet.dtype == torch.bfloat16
    assert halved.card.content != loaded.card.content
    assert not server.seen


def test_a_judge_is_fetched_without_what_lies_beside_it(server: Hub, home: Path) -> None:
    files = JUDGE | {"open_clip_model.safetensors": WEIGHTS, "pytorch_model.bin": WEIGHTS, "onnx/config.json": b"{}"}
    found = find_model(server.add("maker/judge", files), "guard")
    assert names(found) == {"config.json", "model.safetensors"}
    assert describe(found, source=f"maker/judge@{commit(0)}").content == describe(found, source="x/y").content


@pytest.mark.parametrize("source", ["maker/judge", "maker/judge@main", "maker/judge@abc123"])
def test_a_name_that_can_move_is_refused(server: Hub, home: Path, source: str) -> None:
    server.add("maker/judge", JUDGE)
    with pytest.raises(
        UsageError, match=r"repository@revision with the 40-digit commit, got .*; branches and tags can move, so pin"
    ):
        find_model(source, "guard")
    assert not server.seen


@pytest.mark.parametrize("source", ["no such folder", "./gone", "/gone/judge", "gone"])
def test_a_path_that_leads_nowhere_is_no_repository(server: Hub, home: Path, source: str) -> None:
    with pytest.raises(
        UsageError, match=rf"no folder '{source}': it was moved or removed, or it is meant from another place"
    ):
        find_model(source, "guard")
    assert not server.seen


def test_a_branch_is_resolved_to_where_it_is_now_and_what_was_pinned_stays(server: Hub, home: Path) -> None:
    before = server.add("maker/judge", JUDGE)
    assert resolve("maker/judge") == resolve("maker/judge@main") == resolve(before) == commit(0)
    server.add("maker/judge", JUDGE | {"model.safetensors": WEIGHTS[::-1]})
    assert resolve("maker/judge@main") == commit(1)
    assert (fetch(before, "guard") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_commit_that_was_taken_back_is_refused_with_where_the_branch_is(server: Hub, home: Path) -> None:
    gone = server.add("maker/judge", JUDGE)
    server.add("maker/judge", JUDGE)
    del server.repositories["maker/judge"][commit(0)]
    with pytest.raises(
        UsageError, match=rf"no revision {commit(0)} any more; main is now at {commit(1)}\. Look at what changed"
    ):
        fetch(gone, "guard")
    with pytest.raises(UsageError, match=rf"no revision new any more; main is now at {commit(1)}"):
        resolve("maker/judge@new")


def test_a_download_that_was_killed_goes_on_where_it_stopped(server: Hub, tmp_path: Path) -> None:
    source = server.add("maker/judge", JUDGE)
    digest, there = sha256(WEIGHTS).hexdigest(), 700_000
    server.held[digest] = there
    code = f"from seedbank.models.hub import fetch; print(fetch({source!r}, 'guard'))"
    env = {**os.environ, "HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path)}
    killed = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (parts := [path for path in tmp_path.rglob("model.safetensors*.part") if path.stat().st_size]):
        assert time.monotonic() < limit
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    kept = parts[0].stat().st_size
    server.held.clear()
    server.release.set()
    again = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert [ranges for _, path, ranges in server.seen if path == f"/blobs/{digest}"] == ["", f"bytes={kept}-"]
    found = Path(again.stdout.strip())
    assert (found / "model.safetensors").read_bytes() == WEIGHTS
    assert found.is_relative_to(tmp_path)
    assert names(found) == {"config.json", "model.safetensors"}


def test_a_connection_that_breaks_is_gone_on_from_at_once(server: Hub, home: Path) -> None:
    digest = sha256(WEIGHTS).hexdigest()
    server.cut[digest] = 300_000
    found = fetch(server.add("maker/judge", JUDGE), "guard")
    assert (found / "model.safetensors").read_bytes() == WEIGHTS
    assert [ranges for _, path, ranges in server.seen if path == f"/blobs/{digest}"] == ["", "bytes=300000-"]


def test_a_gated_repository_says_what_to_do_until_one_has_access(
    server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = server.add("maker/judge", JUDGE)
    server.gated.add("maker/judge")
    licence = rf"accept its licence at {server.endpoint}/maker/judge, and set HF_TOKEN to a read token"
    with pytest.raises(UsageError, match=f"maker/judge is gated, and no token is set: {licence}"):
        fetch(source, "guard")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(UsageError, match=f"maker/judge is gated, and the token in use has no access: {licence}"):
        fetch(source, "guard")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert names(fetch(source, "guard")) == {"config.json", "model.safetensors"}


def test_a_repository_that_is_not_there_is_refused(server: Hub, home: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no model maker/judge at .* \(status 401\); check the name, and if it is private"
    ):
        fetch(f"maker/judge@{commit(0)}", "guard")


def test_wrong_bytes_are_refused_and_removed(server: Hub, home: Path) -> None:
    source, digest = server.add("maker/judge", JUDGE), sha256(WEIGHTS).hexdigest()
    server.lies[digest] = WEIGHTS[::-1]
    with pytest.raises(
        VerificationError, match=rf"model\.safetensors is not what the hub says .* expected the digest {digest}, got"
    ):
        fetch(source, "guard")
    assert not [path for path in home.rglob("*") if "model.safetensors" in path.name]
    server.lies.clear()
    assert (fetch(source, "guard") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_model_that_does_not_fit_on_the_disk_is_refused_before_it_comes(server: Hub, home: Path) -> None:
    source = server.add("maker/judge", JUDGE)
    server.claimed["model.safetensors"] = 10**18
    with pytest.raises(
        OutsideError, match=r"expected 1000000000\.0 GB of room in .*, got .* GB; make room, or set HF_HOME"
    ):
        fetch(source, "guard")
    assert server.asked_for() == ["config.json"]


def test_without_network_only_what_is_here_is_found(
    server: Hub, home: Path, offline: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    here, absent = server.add("maker/judge", JUDGE), server.add("maker/other", JUDGE)
    found = fetch(here, "guard")
    offline()
    assert fetch(here, "guard") == found
    advice = "its files are not on this machine; try again, set HF_ENDPOINT to a mirror, or fetch it on another machine"
    with pytest.raises(OutsideError, match=f"cannot fetch maker/other: .*refused.*, and {advice}"):
        fetch(absent, "guard")
    with pytest.raises(OutsideError, match=r"cannot fetch maker/other: .*refused"):
        resolve("maker/other@main")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OutsideError, match=f"cannot fetch maker/other: .*offline mode is enabled.*, and {advice}"):
        fetch(absent, "guard")


def test_a_folder_that_is_carried_is_the_home_of_another_machine(
    server: Hub, home: Path, tmp_path: Path, offline: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    source = server.add("maker/judge", JUDGE)
    carried = fetch(source, "guard", to=tmp_path / "stick")
    offline()
    assert not home.exists()
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "stick"))
    assert find_model(source, "guard") == carried
    assert not [path for path in carried.rglob("*") if path.is_symlink()]


def test_what_the_hubs_own_cache_holds_is_not_fetched_again(
    server: Hub, home: Path, offline: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, snapshot_download

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    source = server.add("maker/judge", JUDGE)
    snapshot_download("maker/judge", revision=commit(0), cache_dir=home / "hub", endpoint=server.endpoint)
    offline()
    found = fetch(source, "guard")
    assert names(found) == {"config.json", "model.safetensors"}
    assert (found / "model.safetensors").read_bytes() == WEIGHTS


def test_a_mirror_that_lists_no_digests_is_asked_for_each(server: Hub, home: Path) -> None:
    source = server.add("maker/judge", JUDGE)
    server.listless = True
    server.lies[sha256(WEIGHTS).hexdigest()] = WEIGHTS[::-1]
    with pytest.raises(VerificationError, match="is not what the hub says"):
        fetch(source, "guard")
    server.lies.clear()
    assert (fetch(source, "guard") / "model.safetensors").read_bytes() == WEIGHTS


def test_weights_that_must_be_unpickled_are_never_fetched(server: Hub, home: Path) -> None:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    judge = server.add("maker/judge", {"config.json": b"{}", "pytorch_model.bin": WEIGHTS})
    pipeline = server.add(
        "maker/model",
        {
            "model_index.json": json.dumps(index).encode(),
            "unet/config.json": b"{}",
            "unet/diffusion_pytorch_model.bin": WEIGHTS,
        },
    )
    with pytest.raises(
        UsageError, match=r"expected safetensors weights in .*, got only pytorch_model\.bin, which can run code"
    ):
        fetch(judge, "guard")
    with pytest.raises(
        UsageError, match=r"got only unet/diffusion_pytorch_model\.bin, which can run code when it is read; convert"
    ):
        fetch(pipeline, "pipeline")
    assert not [name for name in server.asked_for() if name.endswith(".bin")]


def test_a_repository_with_code_of_its_own_is_refused_before_its_weights_come(server: Hub, home: Path) -> None:
    code = json.dumps({"auto_map": {"AutoModel": "model.Model"}}).encode()
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["my_unet", "Net"]}
    judge = server.add("maker/judge", JUDGE | {"config.json": code, "model.py": b"raise SystemExit"})
    pipeline = server.add(
        "maker/model", {"model_index.json": json.dumps(index).encode(), "unet/model.safetensors": WEIGHTS}
    )
    with pytest.raises(
        UsageError, match=r"wants to run its own code \(auto_map in config\.json\); remote code is never run"
    ):
        fetch(judge, "guard")
    with pytest.raises(UsageError, match=r"wants to run its own code for 'unet' \(from 'my_unet'\); only parts of"):
        fetch(pipeline, "pipeline")
    assert set(server.asked_for()) == {"config.json", "model_index.json"}


def test_a_repository_of_one_checkpoint_file_is_refused(server: Hub, home: Path) -> None:
    source = server.add("maker/model", {"v1-5.safetensors": WEIGHTS})
    with pytest.raises(
        UsageError,
        match=r"expected model_index\.json in .*, found none; name a repository with the folders of diffusers",
    ):
        fetch(source, "pipeline")
