"""Diffusion: b-values of every vendor, ADC maps and their unit, and the ADC computed where no map exists."""
