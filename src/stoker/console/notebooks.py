"""The page of notebooks: who has which, what they hold, how long nobody has used them; open and stop."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.account import Role
from stoker.console.session import PageRoute, View, Viewer
from stoker.notebook import Notebook

MOST = 200

router = APIRouter(route_class=PageRoute)


@router.get("/notebooks")
def notebooks_page(view: Viewer) -> Response:
    found = view.app.notebooks.find(view.who, limit=MOST)
    return view.page(
        "notebooks.html",
        notebooks=found,
        may_open={notebook.job.id: _may_open(view, notebook) for notebook in found},
        busy=any(not notebook.ready for notebook in found),
    )


@router.get("/notebooks/{job_id}/open")
def open_(view: Viewer, job_id: int) -> Response:
    """Leads to the notebook's own origin, with the token that it exchanges for a cookie at once."""
    request = view.request
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    link = view.app.notebooks.link(job_id, view.who, asked_at=request.headers.get("host", ""), scheme=scheme)
    return RedirectResponse(link.url, status_code=303, headers={"Referrer-Policy": "no-referrer"})


@router.post("/notebooks/{job_id}/stop")
def stop(view: Viewer, job_id: int) -> Response:
    view.app.notebooks.stop(job_id, view.who)
    return RedirectResponse("/notebooks", status_code=303)


def _may_open(view: View, notebook: Notebook) -> bool:
    job, who = notebook.job, view.who
    own = (job.owner, job.tenant) == (who.name, who.tenant)
    return own or (view.app.notebooks.site.apart and who.role is Role.ADMIN)
