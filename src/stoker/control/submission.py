"""From what was asked to what is stored: arrays expanded, scripts and dependencies among siblings checked."""

from __future__ import annotations

import dataclasses
import graphlib
from collections.abc import Sequence
from pathlib import PurePath

from stoker.errors import BadInput, TooLarge
from stoker.job import Dependency, JobSpec
from stoker.store.jobs import Draft

_MOST_JOBS = 100_000  # in one submission


def drafts_of(specs: Sequence[JobSpec]) -> list[Draft]:
    """One draft a job. Raises BadInput, TooLarge."""
    if not specs:
        raise BadInput("no job was given; a submission holds at least one")
    count = sum(max(1, len(spec.array)) for spec in specs)
    if count > _MOST_JOBS:
        raise TooLarge(f"{count} jobs were given; at most {_MOST_JOBS} go into one submission")
    for spec in specs:
        _check_script(spec)
        _check_array(spec)
        _check_folder(spec)
    _check_siblings(specs)
    heads = _heads(specs)
    return [draft for spec, head in zip(specs, heads, strict=True) for draft in _expand(spec, head, heads)]


def _heads(specs: Sequence[JobSpec]) -> list[int]:
    """The position of each spec's first draft."""
    heads, place = [], 0
    for spec in specs:
        heads.append(place)
        place += max(1, len(spec.array))
    return heads


def _expand(spec: JobSpec, head: int, heads: Sequence[int]) -> list[Draft]:
    depends = tuple(
        Dependency(-1 - heads[-dependency.job - 1], dependency.condition) if dependency.job < 0 else dependency
        for dependency in spec.depends
    )
    one = dataclasses.replace(spec, depends=depends, array=())
    if not spec.array:
        return [Draft(one)]
    return [Draft(one, head, index) for index in spec.array]


def _check_script(spec: JobSpec) -> None:
    if not spec.script:
        return
    if not spec.script.startswith("#!"):
        raise BadInput(
            f'the script of "{spec.name}" does not start with #!; begin it with #!/bin/bash', param="script"
        )
    if "\r\n" in spec.script:
        raise BadInput(
            f'the script of "{spec.name}" has Windows line ends (CRLF); convert it with dos2unix', param="script"
        )


def _check_folder(spec: JobSpec) -> None:
    place = PurePath(spec.workdir)
    if spec.package and ".." in place.parts:
        raise BadInput(f'working folder "{spec.workdir}" was given; .. leads out of the package', param="workdir")
    if spec.workdir and not place.is_absolute() and not spec.package:
        raise BadInput(f'working folder "{spec.workdir}" was given; give an absolute path', param="workdir")


def _check_array(spec: JobSpec) -> None:
    if len(set(spec.array)) != len(spec.array) or any(index < 0 for index in spec.array):
        raise BadInput(f'the array of "{spec.name}" names an index twice or below zero', param="array")


def _check_siblings(specs: Sequence[JobSpec]) -> None:
    """Dependencies among the specs themselves (negative ids) must be there and have no circle."""
    graph: dict[int, set[int]] = {}
    for number, spec in enumerate(specs, start=1):
        siblings = {-dependency.job for dependency in spec.depends if dependency.job <= 0}
        for sibling in siblings:
            if not 1 <= sibling <= len(specs):
                raise BadInput(f"depends on job {-sibling}, but only {len(specs)} were given", param="depends")
        graph[number] = siblings
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(specs[number - 1].name for number in error.args[1])
        raise BadInput(f"the jobs wait for each other: {circle}; remove one dependency", param="depends") from None
