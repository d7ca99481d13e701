"""The AE title under which axrad checks its own listener.

From this machine the listener accepts it whether or not [[peer]] lists it. It may do two things: C-ECHO, and C-STORE of
the probe's own object (`daemon.listener.own_probe`), which logs, metrics and the audit trail leave out.
"""

HEALTH_AE_TITLE = "AXRADHEALTH"
