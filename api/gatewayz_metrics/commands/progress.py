"""What a person sees while a command takes longer than a moment: a line on stderr, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def show_progress(text: str) -> Iterator[Callable[[str], None]]:
    """Shows what is under way, and since when, until the block ends; the block may say what comes next.

    What the block prints stands above that line. Files, pipes and terminals that cannot move their cursor get nothing.
    """
    console = Console(stderr=True)
    if not console.is_interactive:
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    # What goes into a pipe must stay there: taken over, it would go to stderr.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(escape(text))
        yield lambda now: progress.update(task, description=escape(now))
