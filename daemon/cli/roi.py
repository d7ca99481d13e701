"""`axrad roi`: the segments of a SEG or RTSTRUCT on the grid of an image series."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_folder


@click.command()
@click.argument("seg", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--images", type=click.Path(exists=True, path_type=Path), help="File or folder of the image series.")
@click.option("--out", type=out_folder, required=True, help="Folder for the masks.")
@config_option
@json_option
def roi(seg: Path, images: Path | None, out: Path, config_path: Path | None, as_json: bool) -> None:
    """Write SEG's regions as NRRD masks on the grid of the image series it belongs to.

    Without --images the masks keep the grid of SEG's own frames.
    """
    from config.load import load
    from pipeline.roi.export import export

    settings = load(config_path, writes=False)
    summary = export(seg, images, out, settings.roi)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False, indent=1))
        return
    grid = summary["grid"]
    click.echo(f"grid {' x '.join(map(str, grid['size_xyz']))}, {grid['why']}")
    for segment in summary["segments"]:
        click.echo(f"{segment['file']}: {segment['label']}, {segment['voxels']} voxels, {segment['role'] or 'no role'}")
        for note in segment["notes"]:
            click.echo(f"  {note}")
    for region in summary["rois"].values():
        click.echo(f"{region['file']}: {region['voxels']} voxels, {region['volume_mm3']:.1f} mm3; {region['why']}")
    for reason in summary["reasons"]:
        click.echo(reason)
