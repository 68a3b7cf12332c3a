"""What a browser sees in place of a notebook: a plain page that says what is the matter; programs get JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from stoker.errors import Denied, StokerError
from stoker.job import Job, JobState

_PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
{again}<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
main {{ max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem }} h1 {{ font-size: 1.4rem }} p {{ opacity: .8 }}
code {{ font-size: .95em }}
</style></head><body><main><h1>{title}</h1><p>{text}</p></main></body></html>
"""
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_AGAIN_S = 3


class NoWayIn(Denied):
    """Nothing, or something wrong, was shown at the door."""

    def __init__(self) -> None:
        super().__init__("this notebook opens with its own link; see: stoker notebook list, or the console")


class Closed(StokerError):
    """The notebook does not answer now, or has ended."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.http_status = 410 if job.state.final else 503
        super().__init__(_closed(job))


def _closed(job: Job) -> str:
    if job.state.final:
        return f"notebook {job.id} has ended ({job.state}){f': {job.message}' if job.message else ''}"
    if job.state is JobState.PENDING:
        return f"notebook {job.id} waits for its devices{f': {job.message}' if job.message else ''}"
    return f"notebook {job.id} is starting"


_START_ANEW = "Its files are where it ran. Start a new one with: stoker notebook"
_ZH = {
    "This notebook has ended": "该笔记本已结束",
    "The notebook is on its way": "笔记本正在启动",
    "The notebook does not answer": "笔记本没有响应",
    "This link does not open a notebook": "此链接无法打开笔记本",
    _START_ANEW: "文件保留在其运行的位置。新建：stoker notebook",
    "This page looks again by itself.": "本页面会自动刷新。",
}


def answer_to(error: StokerError, headers: Mapping[bytes, bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body: a page for who shows pages, else Jupyter's own form of an error."""
    status = error.http_status
    more = [*_HEADERS, *([(b"retry-after", b"2")] if status == 503 else [])]
    if b"text/html" in headers.get(b"accept", b""):
        body = _page(error, chinese=headers.get(b"accept-language", b"").lower().startswith(b"zh")).encode()
        kind = b"text/html; charset=utf-8"
    else:
        body = json.dumps({"message": str(error), "reason": str(error)}).encode()
        kind = b"application/json"
    return status, [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more], body


def _page(error: StokerError, *, chinese: bool) -> str:
    title, then, again = "This link does not open a notebook", "", ""
    if isinstance(error, Closed) and error.job.state.final:
        title = "This notebook has ended"
        then = _START_ANEW
    elif error.http_status == 503:
        title = "The notebook is on its way" if isinstance(error, Closed) else "The notebook does not answer"
        then = "This page looks again by itself."
        again = f'<meta http-equiv="refresh" content="{_AGAIN_S}">\n'

    def say(english: str) -> str:
        return _ZH.get(english, english) if chinese else english

    told = str(error)
    text = escape(told[:1].upper() + told[1:]) + (f"<br>{escape(say(then))}" if then else "")
    return _PAGE.format(lang="zh-Hans" if chinese else "en", title=escape(say(title)), text=text, again=again)
