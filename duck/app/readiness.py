"""What the console says when Django is ready: what it serves and how, and what keeps people from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from duck.app.address import host_of
from duck.app.banner import ready_line, redirects_to_nowhere, refused_in_network
from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from duck.app.lifecycle import Lifecycle
    from duck.proxy.upstream import Generation

logger = logging.getLogger("duck.app")


class Readiness:
    """Of one run. A warning is given once, and again when it has changed."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._warned: tuple[str, ...] = ()

    def tell(self, generation: Generation) -> None:
        """Say it of `generation`, which serves from now on."""
        lifecycle = self._lifecycle
        assert lifecycle.django is not None
        files = views.files(lifecycle.settings)
        hidden = {name for name, served in (("static", files.static), ("media", files.media)) if not served}
        facts = {name: value for name, value in generation.facts.items() if name not in hidden}
        if lifecycle.django.came:  # else one has ended, and the others go on
            logger.info("%s", ready_line(facts, lifecycle.django.took_s, lifecycle.django.came))
        warnings = self._warnings(facts)
        for sentence in warnings:
            if sentence not in self._warned:
                logger.warning("%s", sentence)
        self._warned = warnings
        if lifecycle.reloads is not None:
            lifecycle.reloads.deployed.started()

    def _warnings(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        lifecycle = self._lifecycle
        found = []
        if facts.get("secure_ssl_redirect") and not lifecycle.https.enabled and not self._is_behind_proxies:
            found.append(redirects_to_nowhere(facts))
        found.append(refused_in_network(facts, [host_of(address) for address in lifecycle.network]))
        return tuple(sentence for sentence in found if sentence)

    @property
    def _is_behind_proxies(self) -> bool:
        settings = self._lifecycle.settings
        return bool(views.listening(settings).trusted_proxies) or views.production(settings).serves
