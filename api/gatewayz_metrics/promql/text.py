"""The small doors through which foreign text enters PromQL."""

import re

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_STRING = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`"""
_MATCHER = re.compile(rf"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*({_STRING})\s*")


def quote(text: str) -> str:
    r"""Text as a PromQL string literal: `a"b` becomes `"a\"b"`."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def matchers(text: str) -> str:
    """A list of label matchers, tidied: `{ env = "prod", }` becomes `env="prod"`.

    Raises ValueError with a sentence when the text is anything else, so that a
    configured selector can never close its braces and go on as a query.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    inner = inner.strip().removesuffix(",")
    found: list[str] = []
    at = 0
    while inner[at:].strip():
        matcher = _MATCHER.match(inner, at)
        if matcher is None:
            raise ValueError(f"{text!r} is not a list of label matchers such as 'env=\"production\"'.")
        found.append("".join(matcher.groups()))
        at = matcher.end()
        if at < len(inner):
            if inner[at] != ",":
                raise ValueError(f"{text!r} lacks a comma between two label matchers.")
            at += 1
    return ",".join(found)
