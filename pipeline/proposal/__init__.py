"""A region from the measurements of a reader: the lesion that the marked axes measure, voxel by voxel on T1+C."""
