"""The version in Staging answers requests that ask for it: loaded on demand, unloaded when idle.

It stands beside the model that answers all other requests, so at most two models are in memory.
It passes the same checks, and answers the same records by the threshold in force. Its answers are
for comparison: neither the prediction log nor the counts of decisions hold them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lockstep.config.serving import ServingSettings
from lockstep.errors import ArtifactError, ConfigError, LockstepError
from lockstep.registry.store.names import EmptyStage
from lockstep.registry.store.versions import Version
from lockstep.serving.http_request import Refusal
from lockstep.serving.loaded_model import ServedModel, prepare
from lockstep.serving.openapi import STAGING
from lockstep.serving.version_identity import identity_of

if TYPE_CHECKING:
    from lockstep.serving.model_source import RegistrySource

IDLE_SECONDS = 300.0
"""Time without a request after which the model is unloaded."""
RETRY_SECONDS = 60.0
"""Time until a version that failed its checks is tried again."""


class StagingModel:
    """Holds the version in Staging while requests ask for it."""

    def __init__(self, registry: RegistrySource, settings: ServingSettings) -> None:
        self.registry, self.settings = registry, settings
        self.served: ServedModel | None = None
        self._lock = threading.Lock()
        self._asked = self._looked = self._failed = float("-inf")
        self._loaded = ""
        self._refusal: Refusal | None = None

    def current(self) -> ServedModel:
        """Return the version that is in Staging, at most ``poll_seconds`` ago; it may be loaded.

        Raises Refusal 404 if there is none, 503 if it can't be read or fails its checks.
        """
        with self._lock:
            self._asked = now = time.monotonic()
            if now - self._looked >= self.settings.poll_seconds:
                self._look()
                self._looked = time.monotonic()
            if self.served is None:
                assert self._refusal is not None
                # One of its own for each request: an exception keeps the frames it went through.
                raise Refusal(self._refusal.status, self._refusal.message)
            return self.served

    def unload_idle(self) -> None:
        """Unload the model if nobody has asked for it for a while."""
        if not self._lock.acquire(blocking=False):
            return  # it answers, or is being loaded
        try:
            if self.served is not None and time.monotonic() - self._asked > IDLE_SECONDS:
                self._drop()
        finally:
            self._lock.release()

    def _look(self) -> None:
        """Load the version that is in the stage now, unless it is loaded or was just refused."""
        is_due = self.served is None and time.monotonic() - self._failed > RETRY_SECONDS
        try:
            version = self.registry.find_moved(is_due)
            if version is not None:
                self._take(version)
        except EmptyStage as error:
            self._drop()
            self._refusal = Refusal(404, str(error))
        except (ArtifactError, ConfigError) as error:
            self._refuse(str(error))
        except LockstepError as error:  # the registry does not answer: a loaded version goes on
            self.registry.forget()
            self._refuse(str(error))
        except Exception as error:  # noqa: BLE001  a model's own code can raise anything
            self._refuse(f"{type(error).__name__}: {error}")

    def _take(self, version: Version) -> None:
        """Load a version, unless it is the loaded one; the old one is unloaded before."""
        identity = identity_of(version)
        if self.served is None or identity != self._loaded:
            self.served = None
            self.served = prepare(self.registry.open(version), self.settings)
            self._loaded = identity

    def _refuse(self, fault: str) -> None:
        self._failed = time.monotonic()
        self._refusal = Refusal(503, f"the version in {STAGING} can't answer: {fault}")

    def _drop(self) -> None:
        """Unload the model; the next look loads what is in the stage then."""
        self.served = None
        self.registry.forget()
