"""The event loop of processes of our own: uvloop where it exists."""

try:
    from uvloop import new_event_loop
except ImportError:  # it does not exist for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["new_event_loop"]
