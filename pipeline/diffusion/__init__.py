"""Diffusion: b-values of every vendor, ADC maps and their unit, and the ADC computed where no map exists."""

from pipeline.diffusion.fit import adc_of, fit_adc, geometric_mean, noise_of
from pipeline.diffusion.units import Scale, adc_in_micro, stated_scale
from pipeline.vendor_headers.b_values import BValue, b_value

__all__ = [
    "BValue",
    "Scale",
    "adc_in_micro",
    "adc_of",
    "b_value",
    "fit_adc",
    "geometric_mean",
    "noise_of",
    "stated_scale",
]
