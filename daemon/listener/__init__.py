"""The receiving side: DICOM associations in, files and journals in the spool out. What they mean is not asked here."""

from daemon.listener.supervisor import serve, state

__all__ = ["serve", "state"]
