"""Every topic that an item of a checklist may have, with the function that answers it."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.research.reporting import data_topics, evaluation_topics, model_topics
from pipeline.research.reporting.answer import Topic

TOPICS: Mapping[str, Topic] = {**data_topics.TOPICS, **model_topics.TOPICS, **evaluation_topics.TOPICS}
