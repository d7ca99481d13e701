"""The steps of an exam's analysis that belong to no single room, and the draft that becomes its result."""
