"""Large bodies on their way to the client: what they take is reserved until the last part has been taken."""

from collections.abc import Awaitable

from fastapi import Response
from starlette.types import Receive, Scope, Send

from gatewayz_metrics.memory import MemoryAccount, charging

# Bytes. A smaller body goes at once, and is forgotten.
_LARGE = 2**16
# Bytes of one part. A server keeps what it is given until the client takes it, and accepts the next part only then.
_PART = 2**17


async def answer_within_budget(account: MemoryAccount, answered: Awaitable[Response]) -> Response:
    """The response, which gives back what the account has reserved when it has been sent; at once where it fails."""
    try:
        with charging(account):
            response = await answered
        if len(response.body) < _LARGE:
            account.close()
            return response
        account.settle(bytes(response.body))
        return HeldResponse(response, account)
    except BaseException:
        account.close()
        raise


class HeldResponse(Response):
    """A response whose body is sent in parts, so that slow readers hold back the sending, and is reserved meanwhile."""

    def __init__(self, response: Response, account: MemoryAccount) -> None:
        """Takes everything from a response as it was made."""
        self.status_code = response.status_code
        self.raw_headers = response.raw_headers
        self.background = response.background
        self.body = bytes(response.body)
        self._account = account

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it, and take the reservation back however that ends."""
        try:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            for begin in range(0, len(self.body), _PART):
                end = begin + _PART
                part = {"type": "http.response.body", "body": self.body[begin:end], "more_body": end < len(self.body)}
                await send(part)
        finally:
            self._account.close()
        if self.background is not None:
            await self.background()
