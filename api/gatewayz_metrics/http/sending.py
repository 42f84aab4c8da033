"""Large bodies on their way to the client: what they take is reserved until the last part has been taken."""

from collections.abc import Awaitable, Iterable

from fastapi import Response
from starlette.types import Receive, Scope, Send

from gatewayz_metrics.memory import MemoryAccount, charging

# Bytes. A smaller body goes at once, and is forgotten.
LARGE = 2**16
# Bytes of one part. A server keeps what it is given until the client takes it, and accepts the next part only then.
_PART = 2**17


async def answer_within_budget(account: MemoryAccount, answered: Awaitable[Response]) -> Response:
    """The response, which gives back what the account has reserved when it has been sent; at once where it fails."""
    try:
        with charging(account):
            response = await answered
        if len(response.body) < LARGE:
            account.close()
            return response
        account.settle(bytes(response.body))
        return HeldResponse(response, account)
    except BaseException:
        account.close()
        raise


async def send_held(
    send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, account: MemoryAccount
) -> None:
    """Send a body in parts, so that slow readers hold back the sending, and end its reservation however that goes."""
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for begin in range(0, len(body), _PART):
            end = begin + _PART
            await send({"type": "http.response.body", "body": body[begin:end], "more_body": end < len(body)})
    finally:
        account.close()


class HeldResponse(Response):
    """A response whose body is reserved while it is sent, part by part."""

    def __init__(self, response: Response, account: MemoryAccount) -> None:
        """Takes everything from a response as it was made."""
        self.status_code = response.status_code
        self.raw_headers = response.raw_headers
        self.background = response.background
        self.body = bytes(response.body)
        self._account = account

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it, and take the reservation back."""
        await send_held(send, self.status_code, self.raw_headers, bytes(self.body), self._account)
        if self.background is not None:
            await self.background()
