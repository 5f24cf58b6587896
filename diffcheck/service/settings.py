"""The operator's configuration: engines, corpora, schedule, limits. Engines come from here and from the folder of builds only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from diffcheck.config.input_files import parse_toml, read_regular
from diffcheck.config.option_table import default_jobs, parse_size
from diffcheck.errors import ConfigError
from diffcheck.text import visible

JobKind = Literal["run", "gate", "sweep", "hunt", "triage", "bisect", "check"]
"""``check`` runs the known-answer tests of a new build. The other kinds are the commands of these names."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
LATEST: Final = "latest"
"""The engine that stands for the newest accepted build."""
_CAP_BYTES: Final = 1 << 20
_LISTEN: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})\Z")
_LAST_PORT: Final = 65_535


class ServiceLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes with units, as in ``64MiB``. Uploads leave ``reserve`` free on the disk, jobs half of it.

    A job may take ``job_seconds``, one of an upload ``upload_seconds``.
    """

    upload: str = "64MiB"
    disk: str = "20GiB"
    reserve: str = "256MiB"
    job_seconds: Annotated[int, msgspec.Meta(ge=1)] = 12 * 3600
    upload_seconds: Annotated[int, msgspec.Meta(ge=1)] = 600
    queue: Annotated[int, msgspec.Meta(ge=1)] = 10_000


class BuildSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The folder where builds arrive. ``adapter`` runs them; they are gated on ``corpus``, if one is named."""

    folder: str
    adapter: str
    corpus: str = ""


class ScheduleEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job at a time of day in UTC (``at = "02:00"``), or every ``every_minutes``."""

    name: Name
    kind: Literal["run", "sweep", "hunt"] = "run"
    engine: str = ""
    corpus: str = ""
    at: Annotated[str, msgspec.Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9])?$")] = ""
    every_minutes: Annotated[int, msgspec.Meta(ge=0)] = 0
    budget_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 3600


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of changes. ``secret_file`` holds the key of the signature."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://\S{1,500}$")]
    secret_file: str


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``engines`` are subjects as in ``--subject``, ``corpora`` folders. ``public`` opens reading to everyone who can connect;
    ``hosts`` are the names under which the service is reached, ``proxies`` the addresses whose forwarded headers are believed.
    """

    engines: dict[Name, str] = {}
    corpora: dict[Name, str] = {}
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    jobs: Annotated[int, msgspec.Meta(ge=1)] = default_jobs()
    executor: str = "local"
    public: bool = False
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    limits: ServiceLimits = ServiceLimits()
    builds: BuildSettings | None = None
    schedule: tuple[ScheduleEntry, ...] = ()
    webhooks: tuple[Webhook, ...] = ()


def load(file: str | None, folder: Path) -> ServiceSettings:
    """The settings in ``file``; without one, the installed engines and the corpus in ``folder``. Raises ``ConfigError``."""
    if file is None:
        corpus = folder / "corpus"
        return ServiceSettings(engines={"auto": "auto"}, corpora={"corpus": str(corpus)} if corpus.is_dir() else {})
    raw = parse_toml(read_regular(file, _CAP_BYTES, "the configuration", ConfigError), ConfigError)
    try:
        found = msgspec.convert(raw, ServiceSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{visible(file)}: {visible(str(error), 300)}", hint="see docs/service.md") from error
    base = Path(file).absolute().parent
    found = msgspec.structs.replace(
        found,
        engines=found.engines or {"auto": "auto"},
        corpora={name: str(base / path) for name, path in found.corpora.items()},
        builds=found.builds and msgspec.structs.replace(found.builds, folder=str(base / found.builds.folder)),
        webhooks=tuple(msgspec.structs.replace(each, secret_file=str(base / each.secret_file)) for each in found.webhooks),
    )
    for problem in _problems(found):
        raise ConfigError(f"{visible(file)}: {problem}", hint="see docs/service.md")
    return found


def _problems(found: ServiceSettings) -> Iterator[str]:
    """What is wrong with settings whose types are right."""
    yield from (f"there is no folder {visible(path)}" for path in found.corpora.values() if not Path(path).is_dir())
    for each in (found.limits.upload, found.limits.disk, found.limits.reserve):
        parse_size(each)
    for entry in found.schedule:
        if bool(entry.at) == bool(entry.every_minutes):
            yield f"schedule {entry.name}: give either at or every_minutes"
        if entry.kind == "run" and entry.corpus not in found.corpora:
            yield f"schedule {entry.name}: there is no corpus {visible(entry.corpus)!r}"
        if entry.engine and entry.engine not in {*found.engines, *([LATEST] if found.builds else [])}:
            yield f"schedule {entry.name}: there is no engine {visible(entry.engine)!r}"
    if found.builds and found.builds.corpus and found.builds.corpus not in found.corpora:
        yield f"builds: there is no corpus {visible(found.builds.corpus)!r}"
    if LATEST in found.engines:
        yield f"the engine name {LATEST} stands for the newest build"


def address(listen: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``; raises ``ConfigError``."""
    match = _LISTEN.match(listen)
    if match is None or int(match["port"]) > _LAST_PORT:
        raise ConfigError(f"{visible(listen, 60)!r} is not an address", hint="write HOST:PORT, as in 127.0.0.1:8484")
    return match["host"].strip("[]"), int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can connect to a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
