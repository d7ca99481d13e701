"""Certificates are judged alike on every Python."""

from __future__ import annotations

import ssl

from daemon.network.answer_limits import AnswerLimits, LimitedAdapter
from daemon.network.http_tls import TlsAdapter
from daemon.network.tls_profile import apply_profile


def _strict() -> ssl.SSLContext:
    """A context as Python 3.13 makes it."""
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def test_an_authority_without_key_usage_is_judged_as_on_python_3_11() -> None:
    context = _strict()
    apply_profile(context)
    assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_https_judges_authorities_as_other_connections_do() -> None:
    for adapter in (TlsAdapter(), LimitedAdapter("archive", AnswerLimits(1000, max_wait_s=1.0))):
        context = adapter.poolmanager.connection_pool_kw["ssl_context"]
        assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
