"""Writes ``summary.schema.json`` beside itself: the JSON schema of a run's record, from its type."""

import json
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from dip_lightning.runs.record import Summary

FILE = Path(__file__).with_name("summary.schema.json")


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles of keys, which would only repeat them."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def summary_schema() -> str:
    """Return the schema as text, the same for the same type."""
    schema = TypeAdapter(Summary).json_schema(schema_generator=_Untitled)
    full = {"$schema": GenerateJsonSchema.schema_dialect, **schema}
    return json.dumps(full, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(summary_schema(), encoding="utf-8")
