"""`axrad demo`: a phantom exam goes the whole way on this machine, and its report comes back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click

from daemon.cli.options import out_folder
from daemon.logs import set_up


@click.command()
@click.option(
    "--out",
    default="axrad-demo",
    show_default=True,
    type=out_folder,
    help="Where sr.dcm, page.pdf, page.png and result.json are left.",
)
@click.option("--seed", default=1, show_default=True, help="Another number, another exam.")
@click.option("--vendor", type=click.Choice(["siemens", "ge", "philips"]), default="siemens", show_default=True)
@click.option(
    "--from-measurements",
    is_flag=True,
    help="Nobody drew: measurements come with the exam, regions are proposed, `axrad accept` takes them.",
)
def demo(out: Path, seed: int, vendor: str, from_measurements: bool) -> None:
    """Make a phantom exam, send it by C-STORE, wait for the report, show it."""
    from config.schema import Log
    from daemon.processes.demonstration import Demonstration

    set_up(Log(level="error"), "demo")
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)
    with Demonstration(out, work, seed, vendor, from_measurements=from_measurements) as demonstration:
        demonstration.make_exam()
        demonstration.start()
        demonstration.send()
        if from_measurements:
            demonstration.accept_proposal()
        demonstration.wait()
    demonstration.show()
    click.echo(
        f"\nDone in {time.monotonic() - started:.0f} s. The page of this report: {out / 'page.pdf'} (and page.png)"
    )
    click.echo(f"The report as DICOM: {out / 'sr.dcm'}; the numbers: {out / 'result.json'}")
