"""Callers' texts that an answer repeats, once per series or per event: how long each is, and all of them in sum."""

from collections.abc import Sequence

from gatewayz_metrics.errors import AnswerTexts
from gatewayz_metrics.json_datasource.bounds import count_characters

# Characters of one text, as it was written and with labels filled in.
LONGEST_TEXT = 1000
# Characters of all such texts in one answer: names of 400 characters for 10,000 series.
MOST_TEXT = 4 * 2**20
# Tags of one annotation, and characters of one with labels filled in.
MOST_TAGS = 50
LONGEST_TAG = 200


def check_texts(**texts: str) -> None:
    """Raise ValueError with a sentence for a text that is too long to be repeated."""
    for name, text in texts.items():
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"The payload's {name} has {len(text):,} characters; {LONGEST_TEXT:,} are allowed.")


def check_sum(characters: int) -> None:
    """Raise AnswerTexts when all texts together, as often as they stand in the answer, are too long."""
    if characters > MOST_TEXT:
        raise AnswerTexts(characters, MOST_TEXT)


def split_tags(tags: object) -> tuple[str, ...]:
    """The templates of an annotation's tags, which come as an array or as text with commas.

    Raises ValueError with a sentence when they are too many or too long.
    """
    if count_characters(tags) > LONGEST_TEXT:
        raise ValueError(f"The payload's tags have more than {LONGEST_TEXT:,} characters.")
    found = tags if isinstance(tags, list) else tags.split(",") if isinstance(tags, str) else []
    if len(found) > MOST_TAGS:
        raise ValueError(f"The payload has {len(found)} tags; {MOST_TAGS} are allowed.")
    return tuple(str(tag).strip() for tag in found)


def shorten(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, cut so that it can be seen."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def join_short(pieces: Sequence[str], longest: int = LONGEST_TEXT) -> str:
    """The pieces as one text, cut so that it can be seen; what follows the cut is never put together."""
    taken: list[str] = []
    left = longest + 1
    for piece in pieces:
        taken.append(piece[:left])
        left -= len(taken[-1])
        if left == 0:
            break
    return shorten("".join(taken), longest)
