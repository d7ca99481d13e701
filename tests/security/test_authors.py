"""Signature files with an author: signed, believed, demanded; and what is altered, of others, or signed by nobody."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from config.schema import SignatureSettings
from daemon.cli.signature import signature
from daemon.work.signatures_that_answer import signatures_in_use
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.errors import InputRejected
from pipeline.signature import authors, container
from pipeline.signature.registry import Registry
from tests.support.signature_family import reading

SMALL = reading("small", ["t1c.tumor"])
LARGE = reading("large", ["t1c.tumor", "t2.tumor"])


class Site:
    """A folder with an author's files and keys, a registry, and settings that demand an author."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, Registry(folder / "registry")
        self.registry.folder.mkdir()
        self.file, self.key = folder / "small.axsig", folder / "author.pem"
        self.signature = container.save(SMALL, self.file)
        self.settings = folder / "axrad.toml"
        self.settings.write_text(
            f'[spool]\npath = "{folder / "data" / "spool"}"\n'
            f'[signature]\nregistry = "{self.registry.folder}"\nrequire_author = true\n'
        )
        self.in_use = SignatureSettings(registry=self.registry.folder, require_author=True)

    def run(self, *words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(signature, [*map(str, words), "--config", str(self.settings)])
        if code == 0 and done.exception is not None:
            raise done.exception
        return done

    def refused(self, *words: object) -> str:
        done = self.run(*words, code=1)
        assert isinstance(done.exception, InputRejected), done.output
        return done.exception.message

    def sign(self, *files: Path, author: str = "Dr. Example") -> None:
        self.run("sign", *(files or (self.file,)), "--key", self.key, "--author", author)

    def trust(self) -> None:
        self.run("trust", f"{self.key}.pub", "--author", "Dr. Example")

    def activate(self, what: object = None) -> Result:
        return self.run("activate", what or self.file, "--unevaluated")

    def audited(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "data" / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_signed_and_trusted_file_is_activated_and_used(site: Site) -> None:
    before = site.file.read_bytes()
    site.sign()
    site.trust()
    assert "is active" in site.activate().output
    assert [s.header.name for s in Signatures.from_settings(site.in_use).order] == ["small"]
    assert site.file.read_bytes() == before, "the signature file stays as it is"
    assert (site.registry.folder / f"{site.signature.sha256}.axsig").read_bytes() == before


def test_the_authors_key_is_his_alone_and_one_that_others_may_read_is_not_used(site: Site) -> None:
    site.sign()
    assert stat.S_IMODE(site.key.stat().st_mode) == 0o600
    site.key.chmod(0o640)
    assert site.refused("sign", site.file, "--key", site.key) == (
        f"others may read the key {site.key}: chmod 600 {site.key}"
    )


def test_what_nobody_signed_is_not_activated_and_the_trail_has_an_alert(site: Site) -> None:
    site.sign()
    site.trust()
    authors.beside(site.file).unlink()
    message = site.refused("activate", site.file, "--unevaluated")
    assert message.startswith("small@1 cannot be activated: small@1 is signed by no author")
    assert "signature.require_author" in message
    assert any("signature-not-trusted" in json.dumps(line) for line in site.audited())


def test_an_author_whom_the_site_does_not_trust_is_named_with_his_key(site: Site) -> None:
    site.sign()
    message = site.refused("activate", site.file, "--unevaluated")
    assert "signed by Dr. Example (key " in message
    assert "does not trust" in message


@pytest.mark.parametrize("how", ["another file", "another name", "another key"])
def test_a_signature_of_another_file_name_or_key_counts_for_nothing(site: Site, how: str) -> None:
    site.sign()
    site.trust()
    path = authors.beside(site.file)
    if how == "another file":
        container.save(LARGE, site.file)
    else:
        content = json.loads(path.read_text())
        entry = content["signatures"][0]
        if how == "another name":
            entry["author"] = "Prof. Else"
        else:
            other = site.folder / "other.axsig"
            container.save(LARGE, other)
            site.run("sign", other, "--key", site.folder / "other.pem", "--author", "Dr. Example")
            entry["key"] = json.loads(authors.beside(other).read_text())["signatures"][0]["key"]
        path.write_text(json.dumps(content))
    assert "is not valid, it is of another file or was altered" in site.refused("activate", site.file, "--unevaluated")


def test_what_is_active_is_no_longer_used_once_its_author_is_not_trusted(site: Site) -> None:
    site.sign()
    site.trust()
    site.activate()
    (key,) = json.loads(site.run("trust", "--json").output)["authors"]
    assert signatures_in_use(site.in_use).trouble == ""
    site.run("trust", "--remove", key["key"][:12])
    with pytest.raises(InputRejected, match="whom this site does not trust"):
        Signatures.from_settings(site.in_use)
    answer = signatures_in_use(site.in_use)
    assert (answer.signatures, answer.code) == ((), "signature-not-trusted"), "exams wait"
    actions = [line.get("axrad", {}).get("action") for line in site.audited()]  # type: ignore[attr-defined]
    assert actions.count("trust") == 2


def test_a_shadow_needs_an_author_too(site: Site) -> None:
    site.sign()
    site.trust()
    site.activate()
    site.registry.shadow(LARGE)
    with pytest.raises(InputRejected, match=r"large@1 is signed by no author"):
        Signatures.from_settings(site.in_use)


def test_every_member_of_a_family_is_signed_and_each_is_looked_at(site: Site) -> None:
    family = site.folder / "family"
    family.mkdir()
    kept = [container.save(one, family / f"{one.header.name}.axsig") for one in (LARGE, SMALL)]
    listed = [{"file": f"{one.header.name}.axsig", "sha256": one.sha256} for one in kept]
    facts = {"schema": "axrad.family/1", "name": "both", "version": "1", "members": listed}
    (family / "family.json").write_text(json.dumps(facts))
    site.sign(family)
    site.trust()
    members = sorted(family.glob("*.axsig"))
    assert all(authors.beside(member).exists() for member in members)
    assert "is active" in site.activate(family).output
    assert len(Signatures.from_settings(site.in_use).order) == len(members)
    authors.beside(members[-1]).unlink()
    assert "signed by no author" in site.refused("activate", family, "--unevaluated")


def test_the_demonstration_and_a_single_file_need_an_author_as_well(site: Site) -> None:
    with pytest.raises(InputRejected, match="signed by no author"):
        Signatures.from_settings(SignatureSettings(require_author=True))
    alone = SignatureSettings(path=site.file, require_author=True, authors=site.registry.folder / "authors.json")
    with pytest.raises(InputRejected, match="signed by no author"):
        Signatures.from_settings(alone)
    site.sign()
    site.trust()
    assert Signatures.from_settings(alone).order


def test_without_the_demand_nothing_changes(site: Site) -> None:
    site.settings.write_text(site.settings.read_text().replace("require_author = true", ""))
    assert "is active" in site.activate().output
    assert Signatures.from_settings(SignatureSettings(registry=site.registry.folder)).order


def test_show_says_who_signed_and_whether_it_holds(site: Site) -> None:
    assert "no author" in site.run("show", site.file).output
    site.sign()
    assert "small@1: Dr. Example, key " in site.run("show", site.file).output
    (one,) = json.loads(site.run("show", site.file, "--json").output)["authors"]
    assert (one["author"], one["valid"], one["trusted"]) == ("Dr. Example", True, False)
    site.run("trust", site.file)
    assert "trusted here" in site.run("show", site.file).output
    container.save(LARGE, site.file)
    assert "NOT VALID for this file" in site.run("show", site.file).output


def test_several_authors_sign_one_file_and_one_whom_the_site_trusts_is_enough(site: Site) -> None:
    site.sign()
    site.trust()
    site.run("sign", site.file, "--key", site.folder / "second.pem", "--author", "Second")
    shown = json.loads(site.run("show", site.file, "--json").output)["authors"]
    assert [(one["author"], one["trusted"]) for one in shown] == [("Dr. Example", True), ("Second", False)]
    assert "is active" in site.activate().output


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema": "axrad.author/1", "signatures": [{}]}', b"x" * 70_000])
def test_a_damaged_file_of_authors_is_named(site: Site, content: bytes) -> None:
    authors.beside(site.file).write_bytes(content)
    assert "is damaged" in site.refused("activate", site.file, "--unevaluated")


@pytest.mark.parametrize("name", ["\ud800", "Dr.\x1b[2J Example", "Dr. Example\nis active", " "])
def test_an_authors_name_that_no_terminal_should_show_is_refused(site: Site, name: str) -> None:
    site.sign()
    beside = authors.beside(site.file)
    content = json.loads(beside.read_text())
    content["signatures"][0]["author"] = name
    beside.write_text(json.dumps(content))
    for command in ("show", "activate"):
        assert "no text on one line" in site.refused(command, site.file)
