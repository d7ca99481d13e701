"""N4 bias field correction of one volume: `correct(volume, settings)`.

The reference is SimpleITK's N4 (`reference`); `fast` gives the same log field from small matrix products. Both work
on the same `problem` (mask, shrunk image) and both say what they did in a `BiasEvidence`.
"""

from pipeline.bias.correction import correct, log_field
from pipeline.bias.evidence import BiasEvidence

__all__ = ["BiasEvidence", "correct", "log_field"]
