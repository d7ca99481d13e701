"""Health: each check gives a Finding. What traffic can prove, traffic proves, as a modality or a worker would."""
