"""What the name of a column says of it."""

from __future__ import annotations

import re

ID_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:id|ids|uuid|guid)(?:$|[\W_])|(?-i:[a-z]I[dD]$)|^column \d+$"
    r"|(?:^|[\W_])(?:nr|no|num|number|key|index|idx|row|customer|client|user|patient|household|account|session|person|"
    r"member|subject)$"
)
"""Names that columns of identifiers have."""
