"""What account state is saved as: plain arrays and lists of texts, copied, never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Snapshot = Mapping[str, NDArray[np.generic] | list[str]]
"""A copy, by name: what it was taken of may go on changing."""
Restored = Mapping[str, Any]
"""The same, as it was read: a list of texts where there was one, an array otherwise."""
