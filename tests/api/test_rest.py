"""The REST API of a real platform, asked by a bare HTTP client."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from stoker.account import Role
from stoker.api.endpoints import shown
from stoker.api.wire import Json
from stoker.endpoint import Endpoint, Replica, ReplicaState
from tests.api.platform import Site

ECHO = {"name": "echo", "command": ["sh", "-c", "echo out; echo err >&2"], "stderr": ""}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return error


def submit(site: Site, spec: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    with site.http(key) as http:
        response = http.post("/api/v1/jobs", json=spec)
    assert response.status_code == 201, response.text
    [job] = response.json()["items"]
    return dict(job)


def test_only_health_and_the_page_answer_without_a_key(site: Site) -> None:
    with site.http("") as http:
        assert http.get("/api/v1/health").json()["status"] == "ok"
        assert http.get("/docs").status_code == 200
        document = http.get("/openapi.json").json()
        for path, item in document["paths"].items():
            for method in item:
                if path == "/api/v1/health":
                    continue
                response = http.request(method, re.sub(r"\{\w+\}", "1", path))
                assert response.status_code == 401, (method, path, response.text)
                assert error_of(response)["code"] == "invalid_api_key"
                assert response.headers["www-authenticate"] == "Bearer"


def test_a_jobs_life(site: Site) -> None:
    job = submit(site, ECHO)
    with site.http() as http:
        with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs?follow=true") as response:
            followed = b"".join(response.iter_raw())
        assert followed == b"out\nerr\n"
        piece = http.get(f"/api/v1/jobs/{job['id']}/logs?offset=4&limit=3")
        assert (piece.content, piece.headers["stoker-next-offset"]) == (b"err", "7")
        assert http.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "succeeded"
        states = [event["state"] for event in http.get(f"/api/v1/jobs/{job['id']}/events").json()["items"]]
        assert states[0] == "pending"
        assert states[-1] == "succeeded"
        assert http.get(f"/api/v1/jobs/{job['id']}/why").json()["subject"]
        assert http.get(f"/api/v1/jobs/{job['id']}/telemetry").json()["step"] is None
        assert http.get("/api/v1/jobs/counts").json()["succeeded"] >= 1


def test_of_a_waiting_job_the_answer_holds_codes_and_values_and_is_worded_as_asked(site: Site) -> None:
    job = submit(
        site,
        {
            **ECHO,
            "depends": [{"job": submit(site, {**ECHO, "command": ["sleep", "60"]})["id"], "condition": "afterok"}],
        },
    )
    with site.http() as http:
        path = f"/api/v1/jobs/{job['id']}/why"
        english, chinese = http.get(path).json(), http.get(path, params={"lang": "zh", "nodes": True}).json()
        assert error_of(http.get(path, params={"lang": "fr"}))["param"] == "lang"
        assert http.get(f"/api/v1/jobs/{job['id']}/explanation").status_code == 404
    assert english["waiting"]["because"]["cause"] == chinese["waiting"]["because"]["cause"] == "dependency"
    assert english["claim"].startswith("it waits for other jobs")
    assert chinese["claim"].startswith("等待其他作业")
    assert english["remedy"]
    assert not english["waiting"]["nodes"]
    assert chinese["waiting"]["nodes"]


def test_many_in_one_request_are_accepted_or_refused_together(site: Site) -> None:
    key = site.key("together", tenant="together")
    with site.http(key) as http:
        good = http.post("/api/v1/jobs", json={"jobs": [ECHO, {**ECHO, "array": [0, 1, 2]}]})
        assert len(good.json()["items"]) == 4
        impossible = {**ECHO, "resources": {"accelerators": 9}}
        bad = http.post("/api/v1/jobs", json={"jobs": [ECHO, impossible]})
        assert bad.status_code == 422
        assert error_of(bad)["code"] == "unfit"
        assert len(http.get("/api/v1/jobs").json()["items"]) == 4


@pytest.mark.parametrize("named", [False, True])
def test_following_hears_every_attempt_once(site: Site, tmp_path: Path, named: bool) -> None:
    log = {"stdout": str(tmp_path / "log")} if named else {}
    text = 'echo "attempt $STOKER_ATTEMPT"; test "$STOKER_ATTEMPT" = 2'
    with site.http() as http:
        body = {"command": ["sh", "-c", text], "retries": 1, **log}
        job = http.post("/api/v1/jobs", json=body).json()["items"][0]
        with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs?follow=true") as response:
            assert b"".join(response.iter_raw()) == b"attempt 1\nattempt 2\n"
        if not named:
            with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs?follow=true&attempt=1") as response:
                assert b"".join(response.iter_raw()) == b"attempt 1\n"


def test_pages_follow_each_other(site: Site) -> None:
    key = site.key("pager", tenant="pager")
    with site.http(key) as http:
        http.post("/api/v1/jobs", json={**ECHO, "array": list(range(5))})
        seen: list[int] = []
        before: dict[str, int] = {}
        while True:
            page = http.get("/api/v1/jobs", params={"limit": 2, **before}).json()
            seen += [job["id"] for job in page["items"]]
            if page["next"] is None:
                break
            before = {"before": page["next"]}
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


def test_the_same_idempotency_key_submits_once(site: Site) -> None:
    with site.http() as http:
        headers = {"Idempotency-Key": "once"}
        first = http.post("/api/v1/jobs", json=ECHO, headers=headers).json()["items"][0]["id"]
        again = http.post("/api/v1/jobs", json=ECHO, headers=headers).json()["items"][0]["id"]
        other = http.post("/api/v1/jobs", json={**ECHO, "name": "other"}, headers=headers)
    assert first == again
    assert other.status_code == 409


def test_cancel(site: Site) -> None:
    job = submit(site, {"command": ["sleep", "600"], "grace": 0.1})
    with site.http() as http:
        assert http.post(f"/api/v1/jobs/{job['id']}/cancel").json()["cancel_requested"]
        http.post("/api/v1/jobs/cancel", json={"jobs": [job["id"]]}).raise_for_status()
        with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs?follow=true") as response:
            response.read()
        assert http.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"command": ["true"], "resources": {"cpuss": 1}}, "resources.cpuss"),
        ({"command": ["true"], "priority": 101}, "priority"),
        ({"command": ["true"], "script": "x"}, "command"),
        ({"command": "true"}, "command"),
        ({"command": ["true"], "name": "a/b"}, "name"),
        ({"jobs": [{"command": ["true"], "nodes": "many"}]}, "jobs.0.nodes"),
        ({"jobs": [ECHO], "more": 1}, "more"),
        ({"command": ["true"], "depends": [{"job": 1, "condition": "later"}]}, "depends.0.condition"),
    ],
)
def test_a_wrong_field_is_named(site: Site, body: dict[str, Any], param: str) -> None:
    with site.http() as http:
        response = http.post("/api/v1/jobs", json=body)
    assert response.status_code == 400
    assert error_of(response)["param"] == param


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"command": ["\\ud800"]}', b'{"priority": 1e999}']
)
def test_what_is_no_good_json_is_refused(site: Site, content: bytes) -> None:
    with site.http() as http:
        response = http.post("/api/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert error_of(response)["type"] == "invalid_request_error"


def test_unknown_things_are_404_in_the_one_form(site: Site) -> None:
    with site.http() as http:
        for path in (
            "/api/v1/jobs/999999",
            "/api/v1/nothing",
            "/api/v1/endpoints/x",
            "/v1/models/x",
            "/v1/files/x",
        ):
            response = http.get(path)
            assert response.status_code == 404, path
            assert error_of(response)["code"] == "not_found"
        assert http.put("/api/v1/jobs").status_code == 405


def test_another_tenants_objects_are_not_there(site: Site) -> None:
    ann, bob = site.key("ann", tenant="speech"), site.key("bob", tenant="vision")
    job = submit(site, ECHO, ann)
    with site.http(ann) as mine, site.http(bob) as theirs:
        upload = mine.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "fine-tune"}).json()
        for path in (f"/api/v1/jobs/{job['id']}", f"/api/v1/jobs/{job['id']}/logs", f"/v1/files/{upload['id']}"):
            assert mine.get(path).status_code == 200
            assert theirs.get(path).status_code == 404
        assert theirs.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 404
        assert all(item["tenant"] == "vision" for item in theirs.get("/api/v1/jobs").json()["items"])
        assert theirs.get("/v1/files").json()["data"] == []


def test_roles(site: Site) -> None:
    job = submit(site, ECHO)
    viewer, user = site.key("vera", Role.VIEWER, "default"), site.key("udo", Role.USER, "default")
    with site.http(viewer) as vera, site.http(user) as udo:
        assert vera.get(f"/api/v1/jobs/{job['id']}").status_code == 200
        refused = [
            vera.post("/api/v1/jobs", json=ECHO),
            vera.post(f"/api/v1/jobs/{job['id']}/cancel"),
            vera.post("/v1/files", files={"file": ("a.txt", b"a")}, data={"purpose": "fine-tune"}),
            vera.put("/api/v1/endpoints/x", json={"version": 1}),
            vera.patch("/api/v1/endpoints/x", json={"scaling": {"floor": 0}}),
            vera.post("/api/v1/shipments", json={"data": "/x", "base": "y", "name": "z"}),
            udo.post("/api/v1/keys", json={"name": "more"}),
            udo.get("/api/v1/keys"),
        ]
    for response in refused:
        assert response.status_code == 403, response.text
        assert error_of(response)["type"] == "permission_error"


def test_keys_are_made_and_revoked(site: Site) -> None:
    with site.http() as http:
        made = http.post("/api/v1/keys", json={"name": "carl", "role": "user", "tenant": "speech"}).json()
        with site.http(made["secret"]) as carl:
            assert carl.get("/api/v1/info").json()["account"]["name"] == "carl"
            listed = http.get("/api/v1/keys").text
            assert made["key"]["id"] in listed
            assert made["secret"] not in listed
            assert http.delete(f"/api/v1/keys/{made['key']['id']}").status_code == 204
            assert carl.get("/api/v1/info").status_code == 401


def test_changes_wake_those_who_wait(site: Site) -> None:
    with site.http() as http:
        now = http.get("/api/v1/changes", params={"timeout": 0}).json()["counter"]
        submit(site, ECHO)
        assert http.get("/api/v1/changes", params={"since": now}).json()["counter"] > now
        with http.stream("GET", "/api/v1/changes", headers={"Accept": "text/event-stream"}) as response:
            lines = response.iter_lines()
            event = next(line for line in lines if line.startswith("data:"))
            assert json.loads(event.removeprefix("data:"))["counter"] > now


def test_files_in_openais_form(site: Site) -> None:
    content = b'{"messages": []}\n' * 100_000
    with site.http() as http:
        made = http.post(
            "/v1/files", files={"file": ("../../etc/Ünï 数据.jsonl", content)}, data={"purpose": "fine-tune"}
        ).json()
        assert made["object"] == "file"
        assert made["bytes"] == len(content)
        assert made["filename"] == "Ünï 数据.jsonl"
        assert http.get(f"/v1/files/{made['id']}/content").content == content
        assert made["id"] in [file["id"] for file in http.get("/v1/files?purpose=fine-tune").json()["data"]]
        assert http.get("/v1/files?purpose=batch").json()["data"] == []
        assert http.delete(f"/v1/files/{made['id']}").json() == {
            "id": made["id"],
            "object": "file",
            "deleted": True,
        }
        assert http.get(f"/v1/files/{made['id']}").status_code == 404


def test_the_page_needs_nothing_from_outside(site: Site) -> None:
    with site.http("") as http:
        page = http.get("/docs").text
        assert "//" not in page.replace("<!doctype", "")
        for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
            assert http.get(address).status_code == 200, address
        assert http.get("/docs/other.js").status_code == 404


def test_headers_that_keep_browsers_safe(site: Site) -> None:
    with site.http() as http:
        headers = http.get("/api/v1/info").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_foreign_name_for_this_server_is_refused(site: Site) -> None:
    with site.http() as http:
        response = http.get("/api/v1/info", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "evil.example" in error_of(response)["message"]


def test_a_foreign_page_cannot_use_the_consoles_session(site: Site) -> None:
    token = site.app.accounts.open_session(site.admin)
    with site.http("") as http:
        http.cookies.set("stoker_session", token)
        body = {"model": "none", "messages": [{"role": "user", "content": "x"}]}
        for path, sent in (("/api/v1/jobs", ECHO), ("/v1/chat/completions", body)):
            foreign = http.post(path, json=sent, headers={"Origin": "https://evil.example"})
            unnamed = http.post(path, json=sent)
            assert (foreign.status_code, unnamed.status_code) == (403, 403)
            assert http.post(path, json=sent, headers={"Origin": site.url}).status_code in (201, 404)
        assert http.get("/api/v1/info").status_code == 200


def test_requests_over_the_limit_are_refused_before_they_are_read(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {site.admin_key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_nothing_is_read_from_who_has_no_key(site: Site) -> None:
    """An upload would be written to disk before anybody asked for a key."""
    host, port = site.url.removeprefix("http://").split(":")
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n--x\r\n".encode())
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"www-authenticate: Bearer" in answer


def test_replicas_are_shown_without_their_keys() -> None:
    replica = Replica(1, 1, ReplicaState.READY, url="http://h", secret="hidden", key_file="/hidden")
    endpoint = Endpoint("support", "speech", "ann", version=1, wanted=1, created_at=0.0, replicas=(replica,))
    assert b"hidden" not in bytes(Json(shown(endpoint)).body)


def test_a_loss_that_is_no_number_still_is_json(site: Site) -> None:
    line = json.dumps({"kind": "progress", "at": 1.0, "step": 1, "total": 2, "values": {"loss": float("nan")}})
    script = f"import os; open(os.environ['STOKER_PROBE'], 'a').write({line + chr(10)!r})"
    job = submit(site, {"command": ["python3", "-c", script]})
    with site.http() as http:
        with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs?follow=true") as response:
            assert response.read() == b""
        told = json.loads(http.get(f"/api/v1/jobs/{job['id']}/telemetry").content)
    assert told["values"] == {"loss": "NaN"}
