"""`axrad propose`: regions from readers' measurements or from the images alone, as a segmentation to look at."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_folder


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=out_folder, required=True, help="Where the files go.")
@click.option(
    "--from-images",
    type=click.Choice(("enhancement", "model")),
    help="Use the images alone, whatever was measured. Default: proposal.from_images, where nothing was measured.",
)
@config_option
@json_option
def propose(path: Path, out: Path, from_images: str | None, config_path: Path | None, as_json: bool) -> None:
    """Propose a region for each measurement in the exam in PATH, on T1+C.

    PATH holds the images, and what readers measured on them: TID 1500 reports (OHIF, highdicom, dcmqi, 3D Slicer) or
    presentation states. Writes proposal.dcm (a segmentation that counts for no region until a reader has looked at
    it), regions.png (a picture of each region) and proposal.json (quality figures; every measurement that was not
    used, and why).

    From the images alone (functional tumour volume, or the model of a site), a region is always doubtful.
    """
    from config.load import load
    from daemon.cli.image_proposal_outputs import propose_from_images_and_tell, wants_images
    from daemon.cli.proposal_outputs import propose_and_tell, scanned

    settings = load(config_path, writes=False)
    exam, reports = scanned(path)
    settings = wants_images(settings, from_images, measured=bool(reports))
    if settings.proposal.from_images != "off":
        propose_from_images_and_tell(out, exam, settings, as_json=as_json)
    else:
        propose_and_tell(out, path, (), settings, masks=False, as_json=as_json)
