"""Health, proven by traffic: what is asked is asked as a modality and as a worker would, and nothing is believed."""

# Who the listener is asked by. From this machine it is let in whether or not [[peer]] lists it.
AE_TITLE = "AXRADHEALTH"
