"""`axrad propose`: regions from readers' measurements, as a segmentation to look at."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_folder


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=out_folder, required=True, help="Where the files go.")
@config_option
@json_option
def propose(path: Path, out: Path, config_path: Path | None, as_json: bool) -> None:
    """Propose a region for each measurement in the exam in PATH, on T1+C.

    PATH holds the images, and what readers measured on them: TID 1500 reports (OHIF, highdicom, dcmqi, 3D Slicer) or
    presentation states. Writes proposal.dcm (a segmentation that counts for no region until a reader has looked at
    it), regions.png (a picture of each region) and proposal.json (quality figures; every measurement that was not
    used, and why).
    """
    from config.load import load
    from daemon.cli.proposal_outputs import propose_and_tell

    propose_and_tell(out, path, (), load(config_path, writes=False), masks=False, as_json=as_json)
