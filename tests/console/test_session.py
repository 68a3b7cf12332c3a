"""Signing in and out, and what a foreign page can not do with somebody's session."""

from __future__ import annotations

import httpx
import pytest

from tests.console.platform import Platform


def test_a_stranger_is_led_to_the_sign_in_and_back(bare: Platform) -> None:
    with bare.stranger() as stranger:
        led = stranger.get("/jobs?show=failed")
        assert led.headers["location"] == "/login?next=/jobs%3Fshow%3Dfailed"
        back = stranger.post("/login", data={"key": bare.secret, "next": "/jobs?show=failed"})
        assert back.headers["location"] == "/jobs?show=failed"
        assert stranger.get("/jobs?show=failed").status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(bare: Platform) -> None:
    with bare.stranger() as stranger:
        cookie = stranger.post("/login", data={"key": bare.secret}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert bare.secret not in cookie


def test_behind_tls_the_cookie_is_secure(bare: Platform) -> None:
    with bare.stranger() as stranger:
        stranger.headers["x-forwarded-proto"] = "https"
        assert "Secure" in stranger.post("/login", data={"key": bare.secret}).headers["set-cookie"]


def test_a_wrong_key_is_told_and_opens_nothing(bare: Platform) -> None:
    with bare.stranger() as stranger:
        answer = stranger.post("/login", data={"key": "sk-stk-wrong"})
        assert answer.status_code == 401
        assert "unknown or revoked" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "x"]
)
def test_a_sign_in_never_leads_elsewhere(bare: Platform, target: str) -> None:
    with bare.stranger() as stranger:
        assert stranger.post("/login", data={"key": bare.secret, "next": target}).headers["location"] == "/"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", None])
@pytest.mark.parametrize(
    "path", ["/login", "/logout", "/preferences", "/keys", "/jobs/1/cancel", "/models/m/rollback"]
)
def test_a_post_from_elsewhere_is_refused(bare: Platform, path: str, origin: str | None) -> None:
    with bare.visitor() as visitor:
        del visitor.headers["origin"]
        headers = {} if origin is None else {"origin": origin}
        answer = visitor.post(
            path, data={"key": bare.secret, "name": "x", "role": "admin", "tenant": "t"}, headers=headers
        )
        assert answer.status_code == 403
        assert visitor.get("/").status_code == 200  # still signed in


def test_signing_out_ends_the_session_everywhere(bare: Platform) -> None:
    with bare.visitor() as visitor:
        stolen = dict(visitor.cookies)
        visitor.post("/logout")
        assert visitor.get("/").status_code == 303
        with httpx.Client(base_url=bare.url, cookies=stolen, trust_env=False) as thief:
            assert thief.get("/").status_code == 303


def test_language_and_theme_are_remembered_and_nonsense_is_not(bare: Platform) -> None:
    with bare.visitor() as visitor:
        visitor.post("/preferences", data={"language": "zh", "theme": "dark", "next": "/jobs"})
        assert 'lang="zh-Hans" data-theme="dark"' in visitor.get("/").text
        visitor.post("/preferences", data={"language": "klingon", "theme": "neon"})
        assert 'lang="zh-Hans" data-theme="dark"' in visitor.get("/").text


def test_changes_are_told_only_to_those_who_signed_in(bare: Platform) -> None:
    with bare.stranger() as stranger:
        stranger.headers["accept"] = "text/event-stream"
        assert stranger.get("/api/v1/changes").status_code == 401
    with bare.visitor() as visitor:
        visitor.headers["accept"] = "text/event-stream"
        with visitor.stream("GET", "/api/v1/changes") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")


def test_who_seems_a_stranger_after_a_foreign_link_is_recognised(bare: Platform) -> None:
    with bare.stranger() as stranger:
        assert stranger.get("/session").json() == {"signed_in": False}
    with bare.visitor() as visitor:
        assert visitor.get("/session").json() == {"signed_in": True}
