"""Every page, on the real app: complete, clean, in both languages, and saying what is there."""

from __future__ import annotations

import dataclasses
import re

import httpx
import pytest
from fastapi.testclient import TestClient

from stoker.account import Role
from stoker.console.jobs import LOG_CHUNK
from stoker.console.texts import catalogue
from stoker.endpoint import EndpointSettings
from stoker.job import JobSpec, JobState
from stoker.store.jobs import JobStore
from tests.console import scene
from tests.console.crowd import crowded
from tests.console.page import Page
from tests.console.platform import Platform

PATHS = (
    "/",
    "/jobs",
    "/jobs?show=failed",
    "/jobs?show=running&owner=maria",
    "/jobs?name=nothing-like-it",
    "/jobs?before=3",
    "/jobs/finetune-asr",
    "/jobs/pretrain-13b",
    "/jobs/train-vit",
    "/jobs/tokenize",
    "/jobs/99999",
    "/shipments",
    "/shipments/ship-5e1f00d00d",
    "/shipments/ship-0000000003",
    "/shipments/ship-0badc0ffee",
    "/models",
    "/models/gpu-ops",
    "/models/gpu-ops/compare",
    "/models/gpu-ops/compare?v=1&v=3",
    "/endpoints",
    "/endpoints/gpu-ops",
    "/endpoints/gpu-ops?beside=smollm2-base",
    "/plans",
    "/plans?card=B200-SXM-180GB&count=100000&model=SN5600",
    "/plans?count=0",
    "/plans/training?count=8&model=llama-3.1-8b",
    "/plans/serving?model=llama-3.1-8b",
    "/plans/purchase?cards=H100&train=–&serve=llama-3.1-8b",
    "/plans/storage",
    "/plans/memory",
    "/plans/memory?tp=none",
    "/notebooks",
    "/queues",
    "/keys",
    "/login",
)
BARE_PATHS = ("/", "/jobs", "/shipments", "/models", "/endpoints", "/notebooks", "/queues", "/keys")


def look(visitor: httpx.Client, path: str) -> Page:
    return Page(visitor.get(path).text)


def check(page: Page, language: str) -> None:
    assert page.language == {"en": "en", "zh": "zh-Hans"}[language]
    assert not page.outside
    assert not page.inline
    assert not page.raw_keys
    assert not page.unlabelled
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    assert page.tags.count("main") == 1
    assert page.tags.count("h1") == 1


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_whole_and_clean(furnished: Platform, path: str, language: str) -> None:
    with furnished.visitor(language=language) as visitor:
        answer = visitor.get(path)
    assert answer.status_code == (404 if "99999" in path else 200)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    check(Page(answer.text), language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", BARE_PATHS)
def test_an_empty_platform_teaches_the_next_command(bare: Platform, path: str, language: str) -> None:
    with bare.visitor(language=language) as visitor:
        page = look(visitor, path)
    check(page, language)
    if path != "/keys":
        assert re.search(r"stoker (run|ship|notebook|queue) ", page.text)


def test_chinese_pages_hold_no_english_of_ours(furnished: Platform) -> None:
    english = {text for key, text in catalogue("en").items() if " " in text and "{" not in text and len(text) > 12}
    with furnished.visitor(language="zh") as visitor:
        text = "\n".join(look(visitor, path).text for path in PATHS)
    assert not {one for one in english if one in text}


def test_the_overview_shows_who_uses_what_and_how_well(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        html = visitor.get("/").text
    assert len(re.findall(r'class="cell own-\d level-17', html)) == 4  # finetune-asr delivers 87 %
    assert len(re.findall(r'class="cell own-\d level-10', html)) == 2  # eval-ocr delivers 48 %
    assert len(re.findall(r'class="cell own-\d level-20 unmeasured', html)) == 1
    assert re.search(r"<b>7</b> / 8", html)


def test_a_running_job_shows_measured_beside_expected(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        page = look(visitor, "/jobs/finetune-asr")
    assert "expected 11,300 (10,700 – 11,900) tokens/s" in page.text
    assert "step 610 of 984" in page.text
    assert "12 of 26 tokens trained on" in page.text


def test_a_job_shows_when_it_last_saved_itself(furnished: Platform) -> None:
    (job,) = furnished.app.jobs.resolve("finetune-asr", furnished.admin)
    JobStore(furnished.app.database).note_saved([dataclasses.replace(job, checkpointed_at=job.started_at)])
    for language, told in (("en", "Last saved"), ("zh", "最近保存")):
        with furnished.visitor(language=language) as visitor:
            assert told in look(visitor, "/jobs/finetune-asr").text
            assert told not in look(visitor, "/jobs/train-vit").text


def test_a_waiting_job_says_why_in_the_readers_language(furnished: Platform) -> None:
    with furnished.visitor(language="zh") as visitor:
        page = look(visitor, "/jobs/pretrain-13b")
    assert re.search(r"已等待 .*：\s*需要 8 张加速卡；可用的 8 张加速卡中空闲 \d 张", page.text)
    assert "启动时间未知：取决于没有时间上限的作业" in page.text
    assert "finetune-asr" in page.text
    assert "空闲加速卡不足 1" in page.text


def test_an_endpoints_bounds_are_set_on_its_page(furnished: Platform) -> None:
    typed = {"min": "0", "max": "4", "target": "16", "ttft": "2s", "window": "5m", "idle": "1h", "hold": "90s"}
    with furnished.visitor() as visitor:
        assert 'name="max" type="number"' in visitor.get("/endpoints/gpu-ops").text
        saved = visitor.post("/endpoints/gpu-ops", data=typed)
        assert (saved.status_code, saved.headers["location"]) == (303, "/endpoints/gpu-ops")
        page = visitor.get("/endpoints/gpu-ops").text
        assert 'value="1h"' in page
        assert "between 0 and 4" in page
        assert "Can take back" in page or "Can have" in page
        for field, value, says in (("idle", "60", "has no unit"), ("max", "0", "replicas were asked for")):
            wrong = visitor.post("/endpoints/gpu-ops", data={**typed, field: value})
            assert says in wrong.text
            assert f'value="{value}"' in wrong.text  # what was typed stays
        endpoint = furnished.app.endpoints.get("gpu-ops", furnished.admin)
        assert (endpoint.scaling.ceiling, endpoint.scaling.idle, endpoint.scaling.ttft) == (4, 3600.0, 2.0)
        furnished.app.endpoints.scale("gpu-ops", EndpointSettings(), furnished.admin)


def test_a_failed_job_shows_its_last_words(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        page = look(visitor, "/jobs/train-vit")
    assert "CUDA error: device-side assert" in page.text
    assert "read its log" in page.text


def test_the_log_is_served_in_chunks_as_plain_text(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        whole = visitor.get("/jobs/finetune-asr/log")
        later = visitor.get("/jobs/finetune-asr/log", params={"offset": 7})
        assert visitor.get("/jobs/finetune-asr/output").content == whole.content
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["x-final"] == "0"
    assert int(whole.headers["x-next-offset"]) == len(whole.content)
    assert later.content == whole.content[7:]


def test_of_a_long_log_the_tail_is_shown_and_all_can_be_had(furnished: Platform) -> None:
    program = "for line in range(60_000): print(f'line {line:08}')"
    (job,) = furnished.app.jobs.submit([JobSpec("talks-a-lot", scene.program(program))], furnished.admin)
    scene.settle(furnished.app, furnished.admin, [job.id], {JobState.SUCCEEDED})
    with furnished.visitor() as visitor:
        tail = visitor.get(f"/jobs/{job.id}/log")
        assert visitor.get(f"/jobs/{job.id}/output").text.count("\n") == 60_000
    assert tail.text.endswith("line 00059999\n")
    assert len(tail.content) == LOG_CHUNK
    assert int(tail.headers["x-next-offset"]) == 60_000 * 14


def test_an_array_shows_its_elements(furnished: Platform) -> None:
    spec = JobSpec("sweep", ("true",), array=(0, 1, 5))
    jobs = furnished.app.jobs.submit([spec], furnished.admin)
    with furnished.visitor() as visitor:
        page = look(visitor, f"/jobs/{jobs[0].array_id}")
        assert look(visitor, f"/jobs/{jobs[2].label}").text.count("sweep")
    check(page, "en")
    assert "array of 3" in page.text
    assert {f"/jobs/{job.label}" for job in jobs} <= set(page.addresses)


def test_what_users_write_is_text_and_never_markup(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        html = visitor.get("/shipments/ship-5e1f00d00d").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert" not in html


def test_names_that_look_like_markup_stay_names(furnished: Platform) -> None:
    (job,) = furnished.app.jobs.submit([JobSpec("<img src=x onerror=alert(1)>", ("true",))], furnished.admin)
    with furnished.visitor() as visitor:
        for path in ("/", "/jobs", f"/jobs/{job.id}"):
            assert "<img" not in visitor.get(path).text


def test_the_other_versions_that_are_up_can_be_asked_too(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        page = look(visitor, "/endpoints/gpu-ops?beside=gpu-ops@3")
        unknown = look(visitor, "/endpoints/gpu-ops?beside=evil")
    assert page.html.count('data-thread="') == 2
    assert 'data-thread="gpu-ops@3"' in page.html
    assert unknown.html.count('data-thread="') == 1


def test_secrets_among_the_environment_are_hidden(furnished: Platform) -> None:
    spec = JobSpec("with-env", ("true",), envs={"HF_TOKEN": "hf_abc123", "MODE": "fast"})
    (job,) = furnished.app.jobs.submit([spec], furnished.admin)
    with furnished.visitor() as visitor:
        html = visitor.get(f"/jobs/{job.id}").text
    assert "hf_abc123" not in html
    assert "fast" in html


def test_jobs_are_filtered_and_paged(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        failed = look(visitor, "/jobs?show=failed")
        first = look(visitor, "/jobs?before=2")
    assert "train-vit" in failed.text
    assert "embed-images" not in failed.text
    assert "finetune-asr" in first.text
    assert "eval-ocr" not in first.text


def test_a_job_is_cancelled_from_its_page(furnished: Platform) -> None:
    (job,) = furnished.app.jobs.submit([JobSpec("to-cancel", ("sleep", "600"))], furnished.admin)
    with furnished.visitor() as visitor:
        assert visitor.post(f"/jobs/{job.id}/cancel").headers["location"] == f"/jobs/{job.id}"
    scene.settle(furnished.app, furnished.admin, [job.id], {JobState.CANCELLED})


def test_a_failed_shipment_offers_to_go_on(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        page = look(visitor, "/shipments/ship-0badc0ffee")
    assert "/shipments/ship-0badc0ffee/resume" in page.addresses
    assert "training goes on from its last checkpoint" in page.text


def test_comparing_marks_the_better_figure(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        html = visitor.get("/models/gpu-ops/compare?v=1&v=3").text
        missing = visitor.get("/models/gpu-ops/compare?v=1&v=9")
    best = re.findall(r'class="right num best">([^<]+)<', html)
    assert best == ["1.02", "87.5 %", "434 tokens/s"]
    assert missing.status_code == 404


def test_promotion_and_rollback_are_written_in_the_journal(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        assert visitor.post("/models/gpu-ops/promote", data={"version": "3"}).status_code == 303
        promoted = look(visitor, "/models/gpu-ops")
        assert visitor.post("/models/gpu-ops/rollback").status_code == 303
        back = look(visitor, "/models/gpu-ops")
    assert "champion: v2 → v3" in promoted.text
    assert "champion rolled back: v3 → v2" in back.text


def test_a_new_key_is_shown_once_and_works_until_it_is_revoked(furnished: Platform) -> None:
    with furnished.visitor() as visitor:
        made = visitor.post("/keys", data={"name": "ci robot", "role": "viewer", "tenant": "speech"})
        assert made.headers["cache-control"] == "no-store"
        (secret,) = re.findall(r"sk-stk-[\w-]{20,}", made.text)
        assert secret not in visitor.get("/keys").text
        account = furnished.app.accounts.authenticate(secret)
        with furnished.visitor(secret) as reader:
            assert reader.get("/jobs").status_code == 200
            assert visitor.post(f"/keys/{account.id}/revoke").status_code == 303
            assert reader.get("/jobs").status_code == 303  # its session ended with it


def test_viewers_look_and_users_keep_to_their_tenant(furnished: Platform) -> None:
    with furnished.visitor(furnished.key(Role.VIEWER)) as viewer:
        page = look(viewer, "/jobs/pretrain-13b")
        assert not [address for address in page.addresses if address.endswith("/cancel")]
        assert viewer.post("/jobs/pretrain-13b/cancel").status_code == 403
        assert viewer.get("/keys").status_code == 403
        assert viewer.get("/jobs/train-vit").status_code == 404  # another tenant's
        assert "eval-ocr" not in viewer.get("/").text


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/%22%3E%3Cscript%3E",
        "/jobs?before=x",
        "/jobs?before=0",
        "/jobs/1/log?offset=-1",
        "/jobs/1/output?stream=x",
        "/shipments/..%2F..%2Fetc",
        "/models/a'b",
        "/models/gpu-ops/compare?v=x",
        "/endpoints/nothing",
        "/jobs/" + "9" * 40,
        "/static/0/../../pages.py",
        "/static/0/pages.py",
    ],
)
def test_bad_addresses_get_a_page_and_never_a_traceback(furnished: Platform, path: str) -> None:
    with furnished.visitor() as visitor:
        answer = visitor.get(path)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text
    assert "<script>" not in answer.text


def test_assets_are_kept_for_ever_under_their_own_address(furnished: Platform) -> None:
    with furnished.stranger() as stranger:
        page = look(stranger, "/login")
        sources = [address for address in page.addresses if address.startswith("/static/")]
        answers = [stranger.get(address.partition("#")[0]) for address in sources]
    assert len(sources) > 5
    assert all(answer.status_code == 200 for answer in answers)
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)


def test_a_hundred_nodes_fit_on_the_overview(bare: Platform) -> None:
    with TestClient(crowded(bare.app), headers={"origin": "http://testserver"}, follow_redirects=False) as visitor:
        visitor.post("/login", data={"key": bare.secret})
        html = visitor.get("/").text
    page = Page(html)
    check(page, "en")
    assert html.count('class="cell ') == 800
    assert html.count(" sick") == 100
    assert re.search(r"<b>600</b> / 800", html)
    assert len(html) < 600_000
