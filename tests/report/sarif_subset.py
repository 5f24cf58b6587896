"""The part of SARIF 2.1.0 that we write, as a JSON Schema: names, types and ranges from the standard's sections, no property beside
them, and what code scanning asks for on top (a location with a line, the fingerprint, lengths)."""

from __future__ import annotations


def closed(required=(), /, **properties):
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {name.replace("dollar_", "$"): value for name, value in properties.items()},
    }


def many(items, **more):
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string", "minLength": 1, "maxLength": 20_000}
MESSAGE = closed(["text"], text=TEXT)
LEVEL = {"enum": ["none", "note", "warning", "error"]}
URI = {
    "type": "string",
    "pattern": r"^(file:///)?([A-Za-z0-9._~/-]|%[0-9A-F]{2})+$",
}
PHYSICAL = closed(
    ["artifactLocation", "region"],
    artifactLocation=closed(["uri"], uri=URI, uriBaseId={"const": "%SRCROOT%"}),
    region=closed(["startLine"], startLine={"type": "integer", "minimum": 1}),
)
LOCATION = closed(
    ["physicalLocation"],
    physicalLocation=PHYSICAL,
    logicalLocations=many(
        closed(["name", "fullyQualifiedName", "kind"], name=TEXT, fullyQualifiedName=TEXT, kind={"const": "function"})
    ),
    message=MESSAGE,
)
RULE = closed(
    ["id", "name", "shortDescription"],
    id={"type": "string", "pattern": "^diffcheck/[a-z-]+$"},
    name={"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
    shortDescription=MESSAGE,
)
RESULT = closed(
    ["ruleId", "level", "message", "locations", "partialFingerprints"],
    ruleId={"type": "string"},
    level=LEVEL,
    message=MESSAGE,
    locations=many(LOCATION, minItems=1, maxItems=1),
    relatedLocations=many(LOCATION, maxItems=100),
    partialFingerprints={
        "type": "object",
        "required": ["primaryLocationLineHash", "diffcheckSignature/v1"],
        "properties": {"primaryLocationLineHash": {"type": "string", "pattern": "^[0-9a-f]{16}:1$"}},
        "additionalProperties": {"type": "string"},
    },
    workItemUris=many({"type": "string", "pattern": "^https?://[!-~]+$"}, maxItems=1),
    properties={"type": "object"},
)
INVOCATION = closed(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    startTimeUtc={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
    toolExecutionNotifications=many(closed(["level", "message"], level=LEVEL, message=MESSAGE)),
)
DRIVER = closed(["name", "version", "rules"], name=TEXT, version=TEXT, rules=many(RULE, uniqueItems=True))
RUN = closed(
    ["tool", "invocations", "automationDetails", "results"],
    tool=closed(["driver"], driver=DRIVER),
    invocations=many(INVOCATION, minItems=1, maxItems=1),
    automationDetails=closed(["id"], id={"type": "string", "pattern": "^diffcheck/[A-Za-z0-9_.+-]+/$"}),
    results=many(RESULT, maxItems=25_000),
)
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **closed(
        ["$schema", "version", "runs"],
        dollar_schema={"type": "string", "format": "uri"},
        version={"const": "2.1.0"},
        runs=many(RUN, minItems=1, maxItems=1),
    ),
}
