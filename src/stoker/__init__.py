"""Stoker: one platform for an enterprise's AI accelerators.

``import stoker`` is the typed Python client; everything else is internal to the platform.
"""

from __future__ import annotations

__version__ = "0.1.0"
