"""HTTP as uvicorn speaks it, except that a URL too long for its parser is answered with a readable error."""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gatewayz_metrics.errors import RequestError, ServiceError

# The parser tells positions within a URL in 16 bits.
_LONGEST_URL = 2**16 - 1


def create_protocol(render_body: Callable[[ServiceError], bytes]) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn; `render_body` writes an error as JSON."""

    class LongUrlProtocol(HttpToolsProtocol):
        """Says that a long query goes by POST, where people can read it."""

        def send_400_response(self, msg: str) -> None:
            """Answer a request that cannot be parsed, and hang up."""
            if len(getattr(self, "url", b"")) <= _LONGEST_URL:
                super().send_400_response(msg)
                return
            body = render_body(
                RequestError(
                    f"The URL has more than {_LONGEST_URL:,} bytes; send the query by POST (httpMethod in Grafana)."
                )
            )
            head = (
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return LongUrlProtocol
