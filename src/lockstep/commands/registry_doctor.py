"""The registry command ``doctor``."""

from __future__ import annotations

import argparse
from typing import Any

from lockstep.audit.doctor import diagnose, report
from lockstep.config.layout import project_root
from lockstep.registry.store.connection import Client


def doctor(client: Client | None, options: argparse.Namespace) -> tuple[Any, str, int]:
    """Look for whatever is wrong, and with --fix repair it."""
    found = diagnose(project_root(), options.tracking_uri, options.fix)
    return found.content, report(found), 0 if found.well else 1
