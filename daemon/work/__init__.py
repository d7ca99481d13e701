"""What the Celery tasks do, as plain functions on a `Context`: claim, work, write under the fence."""
