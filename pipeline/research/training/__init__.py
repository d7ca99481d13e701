"""From a feature table to a signature: selection, fit, calibration and nested cross-validation."""
