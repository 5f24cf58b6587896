"""Operations whose body or answer is a file, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

Format = Literal["json", "html", "junit_xml", "sarif", "markdown"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "json": "application/json", "html": "text/html", "junit_xml": "application/xml", "sarif": "application/sarif+json",
    "markdown": "text/markdown",
}  # fmt: skip
BINARY: Final = "application/octet-stream"


@dataclass
class FileUpload(Operation):
    """An operation whose body is a file."""

    def __post_init__(self) -> None:
        """Describe the body."""
        self.request_body = RequestBody({BINARY: _binary()}, required=True)


@dataclass
class ReportDownload(Operation):
    """An operation whose answer is a report in one of the formats."""

    def __post_init__(self) -> None:
        """Describe the answer. Its schema is that of `diffcheck schema`."""
        content = {each: OpenAPIMediaType(schema=Schema()) if each.endswith("json") else _binary() for each in MEDIA_TYPES.values()}
        self.responses = {**(self.responses or {}), "200": OpenAPIResponse("The report", content=content)}


def _binary() -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
