"""YAML files of ours: fields by name, each scalar as the text that stands there.

``1.10`` is not 1.1, ``no`` is not false and ``2:00:00`` is not 7200, as YAML 1.1 would have it. A field nobody
knows is named, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from stoker.errors import BadInput, StokerError, near
from stoker.spelling import check_length, parse_count
from stoker.units import parse_duration


@contextmanager
def reading(text: str, source: str) -> Iterator[None]:
    """Raises what is wrong with `text` as BadInput, which begins with `source` and names the field or the line."""
    check_length(text, source)
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadInput(f"{source}{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{source}: {error}") from None
    except RecursionError:
        raise BadInput(f"{source}: nested too deep to be read") from None
    except StokerError as error:
        raise BadInput(f"{source}: {error}", param=error.param) from None


class _TextLoader(yaml.SafeLoader):
    """Every scalar is text but null; a key given twice is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f'"{key.value}" is given twice', problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, what: str, example: str) -> Mapping[str, Any]:
    """The fields of `text`, which should be `what`, for example `example`."""
    data = yaml.load(text, Loader=_TextLoader)  # noqa: S506 - derived from SafeLoader
    if not isinstance(data, dict):
        raise BadInput(f"{what} is a mapping of fields; write for example: {example}")
    return data


def rename(data: Mapping[str, Any], aliases: Mapping[str, str], known: Sequence[str], what: str) -> dict[str, Any]:
    """`data` under our names of the fields; unknown fields and fields given under two names are refused."""
    fields: dict[str, Any] = {}
    for given, value in data.items():
        name = aliases.get(given, given) if isinstance(given, str) else given
        if name not in known:
            raise BadInput(f'unknown {what} "{given}"{near(str(given), [*known, *aliases])}', param=str(given))
        if name in fields:
            raise BadInput(f'"{given}" and "{name}" mean the same; give one of them', param=str(given))
        fields[name] = value
    return fields


def plain(name: str, value: Any) -> str:
    """The text of field `name`; nothing that is made of parts."""
    if not isinstance(value, str):
        kind = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "nothing"
        raise BadInput(f"{name}: {kind} was given; a plain value is allowed", param=name)
    return value


def count(name: str, value: Any) -> int:
    return parse_count(plain(name, value), what=name)


def duration(name: str, value: Any) -> float:
    """Seconds; a bare number would be read as minutes by some and as seconds by others."""
    if plain(name, value).strip().isdigit():
        raise BadInput(
            f'{name}: "{value}" has no unit; write for example {value}s, {value}m or 02:00:00', param=name
        )
    return parse_duration(value)


def flag(name: str, value: Any) -> bool:
    if plain(name, value).lower() not in ("true", "false"):
        raise BadInput(f'{name}: "{value}" was given; allowed are true and false', param=name)
    return bool(value.lower() == "true")
