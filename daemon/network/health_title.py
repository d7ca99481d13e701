"""The AE title under which axrad checks its own listener.

From this machine the listener accepts it whether or not [[peer]] lists it; logs, metrics and the audit trail leave its
associations out.
"""

HEALTH_AE_TITLE = "AXRADHEALTH"
