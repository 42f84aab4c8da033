"""The status page: one HTML file that asks the service's own routes and shows their answers.

It holds no data and no secret, so everybody may load it; what it asks for needs the same tokens as ever.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from fastapi import Response
from starlette.types import Scope

from gatewayz_metrics.http.openapi import describe_answer
from gatewayz_metrics.http.route import SurfaceRouter, render_json_error
from gatewayz_metrics.service import ServiceProvider

_HTML = "text/html"
_PAGE = files(__package__).joinpath("status.html").read_text("utf-8")
_ANSWER = {"200": describe_answer("The page, for a browser.", {_HTML: {"type": "string"}})}


def _list_sources(tag: str) -> str:
    """The hashes by which a content security policy allows what stands inside the elements of a kind."""
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts)


_HEADERS = {
    "Content-Type": f"{_HTML}; charset=utf-8",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"default-src 'none'; script-src {_list_sources('script')}; "
    f"style-src {_list_sources('style')}; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


def create_status_router(services: ServiceProvider) -> SurfaceRouter:
    """The page at `/status`, and at `/` for those who ask for HTML: to others `/` is the JSON datasource's."""
    router = SurfaceRouter(services, render_json_error, tag="operations")
    for_browsers = SurfaceRouter(services, render_json_error, tag="operations", condition=_accepts_html)

    async def status_page() -> Response:
        """The state of the service, for people."""
        return Response(_PAGE, headers=_HEADERS)

    router.get("/status", openapi_extra={"responses": _ANSWER})(status_page)
    router.head("/status", include_in_schema=False)(status_page)
    for_browsers.get("/")(status_page)
    for_browsers.head("/")(status_page)
    router.take_routes(for_browsers)
    return router


def _accepts_html(scope: Scope) -> bool:
    """Whether a request names HTML and not JSON, as a browser's for a page does (RFC 9110, 12.5.1)."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1").lower()
    media = {part.partition(";")[0].strip() for part in accepted.split(",")}
    return _HTML in media and "application/json" not in media
