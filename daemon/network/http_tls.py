"""HTTPS of requests that judges certificates as our other connections do, on every Python."""

from __future__ import annotations

from typing import Any  # Any: options of urllib3's pools, which requests hands through

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from daemon.network.tls_profile import accept_older_authorities


class TlsAdapter(HTTPAdapter):  # type: ignore[misc]
    """Sends requests as requests does; also accepts an authority's certificate without a KeyUsage extension."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        context = create_urllib3_context()
        accept_older_authorities(context)
        super().init_poolmanager(*args, ssl_context=context, **options)
