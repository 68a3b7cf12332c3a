"""Environment: which of the submitter's variables a job takes along."""

from __future__ import annotations

from collections.abc import Mapping

# What decides which programs and libraries a job finds, and how they speak. Not more: a job's environment is
# kept with the job and shown to everyone of the tenant, and shells are full of tokens.
CARRIED = (
    "PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_EXE",
    "MODULEPATH", "LOADEDMODULES", "_LMFILES_", "MODULESHOME", "CUDA_HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
)  # fmt: skip
_OURS = "STOKER_"  # addresses and keys of the platform itself are not for jobs


def carried(environ: Mapping[str, str]) -> dict[str, str]:
    """What a job takes along when nothing else was said."""
    return {name: environ[name] for name in CARRIED if name in environ}


def exported(wish: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What sbatch's ``--export`` asks for: ``NONE``, ``ALL``, ``ALL,NAME=value`` or ``NAME,NAME=value``.

    Named variables that are not set are left out, as sbatch does.
    """
    found: dict[str, str] = {}
    for part in wish.split(","):
        name, equals, value = part.strip().partition("=")
        if equals:
            found[name] = value
        elif name.upper() == "ALL":
            found.update({key: text for key, text in environ.items() if not key.startswith(_OURS)})
        elif name in environ:
            found[name] = environ[name]
    return found
