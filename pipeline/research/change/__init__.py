"""Before and after treatment: how the features of a cohort changed."""
