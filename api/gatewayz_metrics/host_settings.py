"""The settings inside a host application, whose environment belongs to the host.

Every setting is read as `GATEWAYZ_METRICS_<NAME>`, from the environment or else from `.env`. Without the
prefix only `PROMETHEUS_URL` and its credentials are read, as both applications may well ask the same server.
A value that cannot be used costs its setting alone, except where the default would let more be seen.
"""

import logging
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.setting_names import describe_unknown
from gatewayz_metrics.settings import Settings, unreadable_file
from gatewayz_metrics.validation import Problem, first_problem

log = logging.getLogger(__name__)

PREFIX = "GATEWAYZ_METRICS_"
_CREDENTIALS = (
    "prometheus_username",
    "prometheus_password",
    "prometheus_bearer_token",
    "prometheus_bearer_token_file",
    "prometheus_headers",
)
# Where the host listens, whose pages may ask it and what it logs is the host's business.
_HOSTS_OWN = ("host", "port", "cors_origins", "log_format", "log_level")
# With the default instead of these, somebody would be let in, asked, or shown what was meant to stay out.
_ESSENTIAL = (
    "api_tokens",
    "api_tokens_file",
    "tenants",
    "tenants_file",
    "prometheus_url",
    *_CREDENTIALS,
    "prometheus_cert_file",
    "prometheus_key_file",
    "selector",
)
# What a value counts as when it cannot be used, where the default opens what somebody may have meant to close.
_CLOSED = {"allow_promql": "off"}


class HostSettings(NamedTuple):
    """The settings, and the fault that allows no better answer than its own explanation."""

    settings: Settings
    fault: ConfigurationError | None = None


class GivenSettings(Settings):
    """Settings from arguments alone."""

    # pydantic-settings reads the file before it asks which sources there are.
    model_config = SettingsConfigDict(env_file=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """No environment and no file."""
        return (init_settings,)


def read_host_settings(prometheus_url: str | None = None) -> HostSettings:
    """The settings inside a host; the argument wins over its environment. Raises nothing."""
    try:
        variables = _read_variables()
    except (OSError, UnicodeDecodeError) as exc:
        # The tokens may stand in the file.
        return HostSettings(_let_nobody_in(), unreadable_file(exc))
    if unknown := describe_unknown(variables, Settings.model_fields, PREFIX, in_host=True):
        log.warning("%s", unknown)
    names = _choose_names(variables)
    values: dict[str, Any] = {field: variables[name] for field, name in names.items()}
    if prometheus_url is not None:
        values["prometheus_url"], names["prometheus_url"] = prometheus_url, "prometheus_url"
    found = _validate(values, names)
    access = {"api_tokens", "api_tokens_file", "tenants", "tenants_file"}
    if not values.keys() & access:
        for field in sorted(variables.keys() & access):
            log.warning("%s is not read inside a host application; %s%s is.", field.upper(), PREFIX, field.upper())
    return found


def warn_of_unknown_settings() -> None:
    """Log what the environment and `.env` of a process of our own hold that looks like a setting and is none."""
    try:
        variables = _read_variables()
    except (OSError, UnicodeDecodeError):
        return  # said where the settings are read
    if unknown := describe_unknown(variables, Settings.model_fields, PREFIX, in_host=False):
        log.warning("%s", unknown)


def _read_variables() -> dict[str, str]:
    """What the environment and `.env` hold, by lower-case name. Raises OSError or UnicodeDecodeError."""
    both = {**DotEnvSettingsSource(Settings).env_vars, **EnvSettingsSource(Settings).env_vars}
    return {name: value for name, value in both.items() if value}


def _choose_names(variables: Mapping[str, str]) -> dict[str, str]:
    """The variable that each setting is read from, for those that have one."""
    own = {field: f"{PREFIX.lower()}{field}" for field in Settings.model_fields if field not in _HOSTS_OWN}
    names = {field: name for field, name in own.items() if name in variables}
    # Credentials go to the server that they were meant for, and those with the prefix stand alone.
    if "prometheus_url" not in names:
        shared = () if names.keys() & set(_CREDENTIALS) else _CREDENTIALS
        names |= {field: field for field in ("prometheus_url", *shared) if field in variables}
    return names


def _validate(values: dict[str, Any], names: Mapping[str, str]) -> HostSettings:
    """The settings of these values, without those that cannot be used; each is told to the log."""
    while True:
        try:
            return HostSettings(_with_catalogue(GivenSettings(**values), names))
        except ValidationError as exc:
            problems = [first_problem([error]) for error in exc.errors(include_url=False, include_input=False)]
        for problem in problems:
            field = str(problem.place[0]) if problem.place else ""
            if not field or field in _ESSENTIAL:
                return HostSettings(_tokens_alone(values), ConfigurationError(_sentence(problem, names)))
        for problem in problems:
            field = str(problem.place[0])
            instead = f"it counts as {_CLOSED[field]}" if field in _CLOSED else "its default is used"
            log.warning("%s Until then %s.", _sentence(problem, names), instead)
            values.pop(field, None)
            values |= {field: _CLOSED[field]} if field in _CLOSED else {}


def _with_catalogue(settings: Settings, names: Mapping[str, str]) -> Settings:
    """The settings, without a catalogue that cannot be read."""
    try:
        load(settings.catalogue)
    except ConfigurationError as exc:
        name = names["catalogue"].upper()
        log.warning("%s cannot be used: %s Until then the built-in catalogue is used.", name, exc.sentence)
        return settings.model_copy(update={"catalogue": None})
    return settings


def _sentence(problem: Problem, names: Mapping[str, str]) -> str:
    field = str(problem.place[0]) if problem.place else ""
    return f"{names.get(field, field).upper() or 'The settings'} cannot be used: {problem.clause}."


def _tokens_alone(values: Mapping[str, Any]) -> Settings:
    try:
        return GivenSettings(api_tokens=values.get("api_tokens", ()), api_tokens_file=values.get("api_tokens_file"))
    except ValidationError:
        return _let_nobody_in()


def _let_nobody_in() -> Settings:
    """Settings with a token that nobody knows: whoever meant to close the service must not find it open."""
    return GivenSettings(api_tokens=(SecretStr(token_urlsafe()),))
