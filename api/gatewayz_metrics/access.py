"""Who may ask, as the settings and the files that they name say: the service's own tokens and those of tenants."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import SecretStr, ValidationError

from gatewayz_metrics.host_settings import GivenSettings
from gatewayz_metrics.settings import Settings, parse_tenants
from gatewayz_metrics.upstream.request import Tenant, tenants_by_token
from gatewayz_metrics.validation import first_problem


class Access(NamedTuple):
    """The service's own tokens, and the tenants by their tokens."""

    tokens: tuple[SecretStr, ...]
    tenants: Mapping[str, Tenant]


def read_access(settings: Settings, contents: Mapping[str, bytes]) -> Access:
    """What API_TOKENS and TENANTS say together with the contents of their files.

    Raises ValueError with a sentence that quotes nothing, as all of it is secret.
    """
    tokens = [SecretStr(token) for token in _read_lines("API_TOKENS_FILE", contents)]
    tenants = _read_tenants(contents)
    if tenants.keys() & settings.tenants.keys():
        raise ValueError("A token stands in both TENANTS and TENANTS_FILE; it can have one meaning only.")
    try:
        found = GivenSettings(
            api_tokens=(*settings.api_tokens, *tokens),
            tenants=settings.tenants | tenants,
            prometheus_engine=settings.prometheus_engine,
        )
    except ValidationError as exc:
        problem = first_problem(exc.errors(include_url=False, include_input=False))
        raise ValueError(f"{' and '.join(contents)} cannot be used: {problem.clause}.") from None
    return Access(found.api_tokens, tenants_by_token(found))


def find_own_token(settings: Settings) -> str:
    """A token for a process of ours that asks the service itself; empty where there is none, or none can be read."""
    file = settings.api_tokens_file
    try:
        tokens = read_access(settings, {} if file is None else {"API_TOKENS_FILE": file.read_bytes()}).tokens
    except (OSError, ValueError):
        return ""  # the service says at its start what is wrong
    return tokens[0].get_secret_value() if tokens else ""


def _decode(setting: str, contents: Mapping[str, bytes]) -> str:
    try:
        return contents.get(setting, b"").decode()
    except UnicodeDecodeError:
        raise ValueError(f"{setting} cannot be used: it is not UTF-8.") from None


def _read_lines(setting: str, contents: Mapping[str, bytes]) -> list[str]:
    # Split at line feeds alone: a token may hold what else ends a line in Unicode.
    lines = [line.strip(" \t\r") for line in _decode(setting, contents).split("\n")]
    return [line for line in lines if line]


def _read_tenants(contents: Mapping[str, bytes]) -> dict[str, SecretStr]:
    try:
        found = parse_tenants(_decode("TENANTS_FILE", contents))
    except ValueError as exc:
        raise ValueError(f"TENANTS_FILE cannot be used: {exc}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ValueError("TENANTS_FILE cannot be used: it must be a JSON object of tokens and tenants.")
    return {token: SecretStr(name) for token, name in found.items()}
