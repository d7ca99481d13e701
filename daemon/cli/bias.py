"""`axrad bias`: N4 alone, on any image that SimpleITK reads."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_file


@click.command()
@click.argument("image", metavar="IN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", metavar="OUT", type=out_file)
@click.option("--engine", type=click.Choice(["fast", "simpleitk"]), help="Overrides bias.engine.")
@json_option
@config_option
def bias(image: Path, out: Path, engine: str | None, as_json: bool, config_path: Path | None) -> None:
    """Correct IN for its bias field (N4) and write OUT as float32."""
    from config.load import load
    from pipeline.bias import correct
    from pipeline.bias.image_files import read_image, write_image

    settings = load(config_path, writes=False).bias
    if engine is not None:
        settings = type(settings).model_validate({**settings.model_dump(), "engine": engine})
    volume = read_image(image)
    begun = time.perf_counter()
    corrected, evidence = correct(volume, settings)
    seconds = round(time.perf_counter() - begun, 3)
    write_image(corrected, out)
    for deviation in evidence.deviations:
        click.echo(f"{image.name}: {deviation}", err=True)
    if as_json:
        facts = {
            "iterations": list(evidence.iterations),
            "seconds": seconds,
            "mask_voxels": evidence.mask_voxels,
            "engine": evidence.engine,
            "shrink": list(evidence.shrink_xyz),
            "deviations": list(evidence.deviations),
        }
        click.echo(json.dumps(facts))
    else:
        counts = "/".join(map(str, evidence.iterations))
        click.echo(
            f"{out}: {counts} iterations on {evidence.mask_voxels} mask voxels in {seconds} s ({evidence.engine})"
        )
