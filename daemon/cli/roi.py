"""`axrad roi`: the segments of a SEG or RTSTRUCT on the grid of an image series, or regions from measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option, json_option, out_folder

if TYPE_CHECKING:
    from config.schema import Settings


@click.command()
@click.argument("seg", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--from-sr",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of SEG: a report or presentation state with measurements on the images; may be given several times.",
)
@click.option("--images", type=click.Path(exists=True, path_type=Path), help="File or folder of the image series.")
@click.option("--out", type=out_folder, required=True, help="Folder for the masks.")
@config_option
@json_option
def roi(
    seg: Path | None,
    from_sr: tuple[Path, ...],
    images: Path | None,
    out: Path,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Write SEG's regions as NRRD masks on the grid of the image series it belongs to.

    Without --images the masks keep the grid of SEG's own frames. With --from-sr the regions that a reader measured are
    proposed on T1+C of the images, and written as masks (tumor.nrrd, lymph_nodes.nrrd, node_<n>.nrrd), as a
    segmentation (proposal.dcm), with a picture and proposal.json, as by `axrad propose`.
    """
    from config.load import load

    if (seg is None) == (not from_sr):
        raise click.UsageError("give either SEG or --from-sr")
    settings = load(config_path, writes=False)
    if seg is None:
        _from_measurements(from_sr, images, out, settings, as_json)
        return
    from pipeline.roi.export import export

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


def _from_measurements(
    reports: Sequence[Path], images: Path | None, out: Path, settings: Settings, as_json: bool
) -> None:
    from daemon.cli.proposal_outputs import propose_and_tell

    if images is None:
        raise click.UsageError("--from-sr needs --images, the folder of the exam's images")
    propose_and_tell(out, images, reports, settings, masks=True, as_json=as_json)
