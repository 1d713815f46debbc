"""The review board as a browser meets it, through the API server that mounts it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from seedbank.bank import Bank
from seedbank.review.decisions import record_decision
from seedbank.review.records import Dossier
from seedbank.review.roster import load_roster
from support.trials import make_trial

pytestmark = pytest.mark.integration


def url(dossier: Dossier, rest: str = "") -> str:
    return f"/seedbank/dossiers/{dossier.digest}{rest}"


@pytest.fixture
def pictures(dossier: Dossier) -> list[str]:
    return [reference.photo for reference in dossier.references] + [
        item.image for item in (*dossier.plain, *dossier.candidates)
    ]


def test_nobody_sees_anything_without_signing_in(airflow: Any, dossier: Dossier, pictures: list[str]) -> None:
    for path in ("/seedbank/", url(dossier), url(dossier, "/sheet.png"), url(dossier, f"/images/{pictures[0]}.png")):
        assert airflow.call(None, "GET", path).status_code == 401, path


@pytest.mark.parametrize("kind", ["reference-sets", "validations"])
def test_reports_on_photos_and_their_data_docs_are_served_and_run_nothing(airflow: Any, bank: Bank, kind: str) -> None:
    folder = f"{kind}/{'a' * 64}"
    bank.store.put(f"{folder}/report.html", b"<p>the report</p>")
    bank.store.put(f"{folder}/data-docs/static/a.css", b"p {}")
    bank.store.put(f"{kind}/{'a' * 64}.json", b"{}")
    assert airflow.call(None, "GET", f"/seedbank/{folder}/report.html").status_code == 401
    report = airflow.call("vic", "GET", f"/seedbank/{folder}/report.html")
    assert (report.status_code, report.text) == (200, "<p>the report</p>")
    assert "script-src" not in report.headers["content-security-policy"]
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert (
        airflow.call("vic", "GET", f"/seedbank/{folder}/data-docs/static/a.css")
        .headers["content-type"]
        .startswith("text/css")
    )
    for path in (
        f"{folder}/other.html",
        f"{folder}/data-docs/%2e%2e/report.html",
        f"{folder}/data-docs/gone.html",
        f"{folder}.json",
    ):
        assert airflow.call("vic", "GET", f"/seedbank/{path}").status_code in {404, 422}, path


def test_the_overview_links_the_newest_report_of_each_concept(airflow: Any, bank: Bank) -> None:
    for event, reference_set in (("references.refused", ""), ("references.validated", "b" * 64)):
        bank.record(event, concept="wingnut", key="k", validation="a" * 64, reference_set=reference_set)
    page = airflow.call("vic", "GET", "/seedbank/").text
    assert f'href="/seedbank/reference-sets/{"b" * 64}/report.html">wingnut</a>' in page
    assert "validations/" not in page


def test_the_overview_lists_what_waits_first(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    page = airflow.call("vic", "GET", "/seedbank/").text
    assert f'href="{url(dossier)}"' in page
    assert 'badge waiting">waiting' in page
    say(bank, dossier, "alice", "reject", reason="<b>no wings</b>")
    page = airflow.call("vic", "GET", "/seedbank/").text
    assert 'badge rejected">rejected' in page
    assert "&lt;b&gt;no wings&lt;/b&gt;" in page


def test_a_dossier_is_shown_side_by_side_with_rights_and_scores(
    airflow: Any, dossier: Dossier, pictures: list[str]
) -> None:
    response = airflow.call("alice", "GET", url(dossier))
    assert response.headers["cache-control"] == "no-store"
    for part in (*pictures, "CC-BY-4.0", "cleared by sam", "guard <b>0.800</b>", *dossier.flags, dossier.digest):
        assert str(part) in response.text, part


def test_pages_load_nothing_from_elsewhere(airflow: Any, dossier: Dossier) -> None:
    response = airflow.call("alice", "GET", url(dossier))
    policy = response.headers["content-security-policy"]
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', response.text))
    assert f"script-src 'nonce-{nonce}'" in policy
    assert "default-src 'none'" in policy
    assert re.findall(r'(?:src|href)="(?!/seedbank/)', response.text) == []
    assert "style=" not in response.text
    assert airflow.call("alice", "GET", url(dossier)).text != response.text  # a nonce is used once


def test_pictures_are_the_stored_bytes_and_may_be_kept(
    airflow: Any, bank: Bank, dossier: Dossier, pictures: list[str]
) -> None:
    candidate = dossier.candidates[0]
    response = airflow.call("alice", "GET", url(dossier, f"/images/{candidate.image}.png"))
    assert response.content == bank.store.get(f"{dossier.folder}/images/{candidate.image}.png")
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert all(airflow.call("alice", "GET", url(dossier, f"/images/{image}.png")).is_success for image in pictures)


def test_a_picture_that_was_exchanged_in_the_store_is_not_served(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    candidate, reference, plain = dossier.candidates[0], dossier.references[0], dossier.plain[0]
    other = bank.store.get(f"{dossier.folder}/images/{dossier.candidates[1].image}.png")
    for item in (candidate.image, plain.image):
        bank.store.put(f"{dossier.folder}/images/{item}.png", other)
    bank.store.put(f"working/{reference.photo}.png", other)
    for item in (candidate.image, plain.image, reference.photo):
        for size in ("", "?size=64"):
            response = airflow.call("alice", "GET", url(dossier, f"/images/{item}.png{size}"))
            assert response.status_code == 500
            assert "it was changed in" in response.text
            assert "cache-control" not in response.headers


@pytest.mark.parametrize("size", [16, 200, 512])
def test_previews_have_the_size_that_was_asked_for(
    airflow: Any, dossier: Dossier, pictures: list[str], size: int
) -> None:
    for image in (pictures[0], pictures[-1]):
        data = airflow.call("alice", "GET", url(dossier, f"/images/{image}.png?size={size}")).content
        assert max(Image.open(io.BytesIO(data)).size) == size


@pytest.mark.parametrize("size", ["0", "513", "100000", "x"])
def test_no_preview_is_large_enough_to_hurt(airflow: Any, dossier: Dossier, pictures: list[str], size: str) -> None:
    assert airflow.call("alice", "GET", url(dossier, f"/images/{pictures[0]}.png?size={size}")).status_code == 422


def test_the_contact_sheet_is_served(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    response = airflow.call("alice", "GET", url(dossier, "/sheet.png"))
    assert response.content == bank.store.get(dossier.sheet)
    assert response.headers["cache-control"] == "private, no-cache"  # nothing names its digest


def test_only_pictures_of_the_dossier_are_served(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    stranger = "ab" * 32
    bank.store.put(f"working/{stranger}.png", b"not for this review")
    assert airflow.call("alice", "GET", url(dossier, f"/images/{stranger}.png")).status_code == 404
    assert airflow.call("alice", "GET", f"/seedbank/dossiers/{stranger}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "../../keys/review.key",
        "..%2f..%2fkeys%2freview.key",
        "%2e%2e/%2e%2e/keys/review.key",
        "A" * 64,
        "ledger/0000000001.json",
    ],
)
def test_no_path_of_the_store_can_be_asked_for(airflow: Any, bank: Bank, dossier: Dossier, path: str) -> None:
    for base in (f"/seedbank/dossiers/{path}", f"/seedbank/dossiers/{dossier.digest}/images/{path}"):
        response = airflow.call("alice", "GET", base)
        assert "PRIVATE KEY" not in response.text
        assert "previous" not in response.text
        assert response.status_code in (404, 422) or "<title>Airflow" in response.text, base


def test_a_decision_that_was_tampered_with_is_shown_as_broken(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    say(bank, dossier, "alice", "publish")
    bank.store.put(f"decisions/{dossier.digest}/1.json", b"{}")
    page = airflow.call("alice", "GET", url(dossier)).text
    assert 'badge broken">broken' in page


def test_a_dossier_that_was_changed_does_not_hide_the_others(airflow: Any, bank: Bank, dossier: Dossier) -> None:
    other = make_trial(bank, number=1).dossier()
    bank.store.put(f"dossiers/{other.digest}.json", other.model_copy(update={"prompt": "another"}).to_bytes())
    page = airflow.call("alice", "GET", "/seedbank/").text
    assert "the object was changed" in page
    assert f'href="{url(dossier)}"' in page
    assert airflow.call("alice", "GET", url(other)).status_code == 500


def say(bank: Bank, dossier: Dossier, who: str, verdict: Any, *, reason: str = "looked at all of them") -> None:
    reviewer = load_roster(bank.settings.roster).reviewers[who]
    record_decision(
        bank,
        dossier=dossier.digest,
        seat=1,
        reviewer=reviewer,
        verdict=verdict,
        reason=reason,
        scripted=False,
        via="test",
    )
