"""Look at data before a job is made of it: ``python -m stoker.recipes.inspect_data PATH [CONFIG]``.

Prints what the first rows of every file show, as one line of JSON (see `Inspection`), or why an import would refuse
the data (exit 2). CONFIG is the import's, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from stoker.errors import BadInput, MissingExtra, StokerError
from stoker.recipes.curation.intake import ImportConfig, Inspection, inspect
from stoker.typed import read


def main(arguments: list[str]) -> int:
    try:
        found = _inspected(*arguments)
    except StokerError as error:
        sys.stderr.write(f"stoker: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    return 0


def _inspected(path: str, config: str = "{}") -> Inspection:
    try:
        return inspect(Path(path), read(ImportConfig, json.loads(config), what="config"))
    except json.JSONDecodeError as error:
        raise BadInput(f"the config is no JSON: {error}", param="config") from None
    except ModuleNotFoundError as error:
        raise MissingExtra(f"reading this data ({error.name})", "data") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
