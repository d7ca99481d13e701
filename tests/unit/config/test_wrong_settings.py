"""Every setting is checked by what it means, when it is loaded: the key, and what is allowed, in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.load import ConfigError, load
from daemon import main as command_line

PACS = '[[pacs]]\nname = "main"\nae_title = "PACS"\nhost = "10.1.0.5"\nport = 104\n'
PEER = '[[peer]]\nae_title = "MR1"\n'
AE = '[[destination]]\nname = "a"\nae_title = "B"\nhost = "h"\nport = 104\n'
EMAIL = '[notify.email]\nhost = "mail.example.org"\nsender = "axrad@example.org"\nto = ["reader@example.org"]\n'
SECRET = "hunter2-hunter2-hunter2"

# What stands in the file; the key, and what is said of it. FILE and FOLDER are there, NOWHERE is not.
WRONG = [
    ('[site]\ntimezone = "Europe/Berln"', "site.timezone", 'no time zone of this name.*did you mean "Europe/Berlin"'),
    ('[site]\ntimezone = ""', "site.timezone", "no time zone"),
    ('[site]\ntimezone = "Europe"', "site.timezone", "no time zone"),
    ('[site]\ntimezone = "../../etc/passwd"', "site.timezone", "no time zone"),
    ('[site]\ntimezone = "/etc/localtime"', "site.timezone", "no time zone"),
    ("[site]\ntimezone = 1", "site.timezone", "must be text"),
    ('[site]\nuid_root = "1.2.banana"', "site.uid_root", "numbers without leading zeros"),
    ('[site]\nuid_root = "1.2."', "site.uid_root", "numbers without leading zeros"),
    ('[site]\nuid_root = "1.02.3"', "site.uid_root", "numbers without leading zeros"),
    ('[site]\nuid_root = "3.1"', "site.uid_root", "numbers without leading zeros"),
    ('[site]\nuid_root = "1.40.1"', "site.uid_root", "numbers without leading zeros"),
    ('[site]\nuid_root = ""', "site.uid_root", "numbers without leading zeros"),
    (f'[site]\nuid_root = "1.2.{"3" * 40}"', "site.uid_root", "at most 36 characters.*not unique"),
    (f'[site]\ninstitution = "{"x" * 65}"', "site.institution", "at most 64 characters"),
    ("[site]\ninstitution = 'A\\B'", "site.institution", "no backslash"),
    ('[site]\ninstitution = "a\\nb"', "site.institution", "line breaks"),
    ('[listen]\nae_title = ""', "listen.ae_title", "1 to 16 characters"),
    ('[listen]\nae_title = "   "', "listen.ae_title", "not only spaces"),
    ('[listen]\nae_title = "SEVENTEEN_LETTERS"', "listen.ae_title", "1 to 16 characters"),
    ("[listen]\nae_title = 'A\\B'", "listen.ae_title", "no backslash"),
    ('[listen]\nae_title = "MÜNCHEN"', "listen.ae_title", "ASCII"),
    ('[listen]\nae_title = "A\\tB"', "listen.ae_title", "control characters"),
    ('[listen]\nhost = "http://127.0.0.1"', "listen.host", "IP address"),
    ('[listen]\nhost = "127.0.0.1:104"', "listen.host", "the port has a key of its own"),
    ('[listen]\nhost = "300.1.1.1"', "listen.host", "not an IP address"),
    ('[listen]\nhost = "my host"', "listen.host", "a name or an IP address alone"),
    ("[listen]\nport = 65536", "listen.port", "at most 65535"),
    ("[listen]\nport = -1", "listen.port", "at least 0"),
    ("[listen]\nport = true", "listen.port", "not true or false"),
    ("[listen]\nport = 104.5", "listen.port", "whole number"),
    ('[listen]\nport = "dicom"', "listen.port", "whole number"),
    (f"[listen]\nport = {'9' * 5000}", "", "not TOML"),
    ("[listen]\nacse_timeout_s = 0", "listen.acse_timeout_s", "more than 0"),
    ("[listen]\nnetwork_timeout_s = -5", "listen.network_timeout_s", "more than 0"),
    ("[listen]\nnetwork_timeout_s = inf", "listen.network_timeout_s", "finite"),
    ("[listen]\nacse_timeout_s = nan", "listen.acse_timeout_s", "finite"),
    ("[listen]\nmax_instance_bytes = 0", "listen.max_instance_bytes", "at least 1"),
    ('[listen]\ndurability = "always"', "listen.durability", "one of 'instance', 'association' or 'none'"),
    ('[listen]\ntls_certificate = "FILE"', "listen.tls_certificate", "listen.tls_key go together"),
    ('[listen]\ntls_certificate = "NOWHERE"\ntls_key = "FILE"', "listen.tls_certificate", "there is no file"),
    ('[listen]\ntls_client_ca = "FOLDER"', "listen.tls_client_ca", "is a folder; a file is needed"),
    ('[listen]\ntls_client_ca = ""', "listen.tls_client_ca", "must not be empty"),
    ("[listen]\nmax_associations = 4\nmax_associations_per_peer = 5", "listen.max_associations_per_peer", "all peers"),
    ("[metrics]\nport = 11112", "metrics.port", "11112 is the port of listen.port too"),
    ('[flower]\nhost = "0.0.0.0"\nport = 11180', "flower.port", "the port of metrics.port too"),
    (
        f'[spool]\nshare_port = 11112\nshare_host = "localhost"\nshare_token = "{SECRET}"',
        "spool.share_port",
        "the port of listen.port too",
    ),
    ('[spool]\npath = "FILE"', "spool.path", "is a file; a folder is needed"),
    ('[spool]\npath = "FILE/spool"', "spool.path", "cannot be looked at: Not a directory"),
    ('[spool]\npath = "~/spool"', "spool.path", "write the whole path"),
    ("[spool]\npath = 5", "spool.path", "path in quotes"),
    (f'[spool]\npath = "/{"x" * 300}"', "spool.path", "File name too long"),
    ("[spool]\nwarn_free_bytes = 1\nrefuse_free_bytes = 2", "spool.warn_free_bytes", r"less than spool\.refuse_free"),
    ("[spool]\nwarn_free_inodes = 5", "spool.warn_free_inodes", r"less than spool\.refuse_free_inodes"),
    ("[spool]\nwarn_free_bytes = -1", "spool.warn_free_bytes", "at least 0"),
    ('[spool]\nremote = "ftp://intake"', "spool.remote", "begins with http:// or https://"),
    (f'[spool]\nremote = "https://intake/x"\nshare_token = "{SECRET}"', "spool.remote", "scheme, host and port alone"),
    ('[spool]\nshare_token = "short"', "spool.share_token", "at least 16 characters"),
    ("[spool]\nshare_port = 1190", "spool", "share_port, remote and others need share_token"),
    ('[ledger]\nurl = "mysql://db/axrad"', "ledger.url", "begins with postgresql://"),
    ('[ledger]\nurl = "postgresql://db.example.org"', "ledger.url", "names no database"),
    ('[ledger]\nurl = "postgresql:///axrad"', "ledger.url", "names no host"),
    ('[ledger]\nurl = "postgresql://db:99999/axrad"', "ledger.url", "host or port of the URL cannot be read"),
    ('[ledger]\nurl = "sqlite://ledger.sqlite"', "ledger.url", "three slashes"),
    ('[ledger]\nurl = "sqlite:///FOLDER"', "ledger.url", "is a folder; a file is needed"),
    ('[ledger]\nurl = "sqlite:///FILE/l.sqlite"', "ledger.url", "Not a directory"),
    ('[broker]\nurl = "http://localhost"', "broker.url", "begins with redis://"),
    ('[broker]\nurl = "localhost:6379"', "broker.url", "begins with redis://"),
    ('[broker]\nurl = "redis://"', "broker.url", "names no host"),
    ('[broker]\nurl = "redis://[::1"', "broker.url", "cannot be read"),
    ('[broker]\nurl = "redis://localhost/axrad"', "broker.url", "number of the database"),
    ('[broker]\nurl = "redis+socket://"', "broker.url", "names no socket"),
    ('[broker]\nurl = "redis://queue.example/0"', "broker.url", r"ledger\.url must be set"),
    ("[assembly]\nquiet_s = -1", "assembly.quiet_s", "at least 0"),
    ("[assembly]\nmax_age_days = -1", "assembly.max_age_days", "at least 0"),
    ("[assembly]\nquiet_s = 5\nsettle_s = 6", "assembly.settle_s", r"more than assembly\.quiet_s"),
    ('[assembly]\nrequire_sequences = "t1c"', "assembly.require_sequences", "list in brackets"),
    ('[assembly]\nrequire_sequences = ["t3"]', "assembly.require_sequences.0", "one of 't1c', 't2' or 'adc'"),
    ("[assembly]\nquiet = 5", "unknown key assembly.quiet", r"did you mean assembly\.quiet_s\?"),
    ("assembly = 5", "assembly", "must be a table"),
    ("[assembley]\nquiet_s = 5", "unknown key assembley", r"did you mean assembly\?"),
    ("[retention]\nkeep_days = 1\nat_least_days = 2", "retention.at_least_days", r"more than retention\.keep_days"),
    ("[retention]\nkeep_free_bytes = 5", "retention.keep_free_bytes", r"less than spool\.refuse_free_bytes"),
    ("[work]\nlease_s = 0", "work.lease_s", "more than 0"),
    ("[work]\nattempts = 0", "work.attempts", "at least 1"),
    ("[work]\nthreads = 0", "work.threads", "at least 1"),
    ("[work]\nbackoff_s = -1", "work.backoff_s", "at least 0"),
    ('[work]\nbackground_hours = ["22-6"]', "work.background_hours.0", 'as in "22:00-06:00"'),
    ("[[work.urgent]]\n", "work.urgent.0", "needs one of calling_ae"),
    ('[[peer]]\nae_title = ""', "peer.0.ae_title", "1 to 16 characters"),
    ("[[peer]]\nnetworks = []", "peer.0.ae_title", "must be given"),
    (f'{PEER}networks = ["10.1.2.3/16"]', "peer.0.networks.0", 'write "10.1.0.0/16"'),
    (f'{PEER}networks = ["fe80::1/64"]', "peer.0.networks.0", 'write "fe80::/64"'),
    (f'{PEER}networks = ["10.1.0.0/33"]', "peer.0.networks.0", "a network is written as in"),
    (f'{PEER}networks = ["10.1.*"]', "peer.0.networks.0", "a network is written as in"),
    (f'{PEER}networks = "10.1.0.0/16"', "peer.0.networks", "list in brackets"),
    (PEER + PEER, "peer", "MR1 is listed twice"),
    (f'{PEER}networks = ["10.1.0.0/16"]\n' * 2, "peer", "MR1 is listed twice for 10.1.0.0/16"),
    (f'{PEER}host = "10.1.0.5/x"', "peer.0.host", "IP address alone"),
    ("[peer]\nae_title = 'MR1'", "peer", "list in brackets"),
    (PACS + PACS, "pacs", r"two \[\[pacs\]\] are named main"),
    (f"{PACS.replace('main', ' ')}", "pacs.0.name", "1 to 64 characters, and no blanks at its ends"),
    (f"{PACS.replace('104', '0')}", "pacs.0.port", "at least 1"),
    (f'{PACS}dicomweb_url = "pacs/dicom-web"', "pacs.0.dicomweb_url", "begins with http:// or https://"),
    (f'{PACS}dicomweb_url = "https:///dicom-web"', "pacs.0.dicomweb_url", "names no host"),
    (f'{PACS}dicomweb_url = "https://h/dicom-web?x=1"', "pacs.0.dicomweb_url", r"no.*part after \?"),
    (f'{PACS}dicomweb_url = "https://h h/"', "pacs.0.dicomweb_url", "a URL that begins with"),
    (f'{PACS}dicomweb_url = "https://h/"\ndicomweb_user = "u"', "pacs.0.dicomweb_user", "go together"),
    (f'{PACS}dicomweb_token = "{SECRET}"', "pacs.0.dicomweb_url", "is missing"),
    (f'{PACS}can = ["search"]', "pacs.0.can.0", "one of 'find', 'move', 'get' or 'commit'"),
    (f'{PACS}tls_ca = "NOWHERE"', "pacs.0.tls_ca", "there is no file"),
    (f'{PACS}[[destination]]\nname = "a"\npacs = "mian"', "destination.0.pacs", r"no \[\[pacs\]\] is named mian.*main"),
    (f"{PACS.replace('main', '')}", "pacs.0.name", "1 to 64 characters"),
    (f'{PACS}can = ["find", "find"]', "pacs.0.can", "named once"),
    (f'{AE}what = ["sr", "page", "sr"]', "destination.0.what", "named once"),
    (f'{AE}report_from = [""]', "destination.0.report_from.0", "an AE title .* or a host is needed"),
    (f'{AE}report_from = ["A LONG NAME OF NOBODY"]', "destination.0.report_from.0", "or a host is needed"),
    (f"{AE}connect_timeout_s = 1e300", "destination.0.connect_timeout_s", "at most 604800000"),
    (f"{AE}give_up_days = 1e300", "destination.0.give_up_days", "at most 365000"),
    ("[assembly]\nsweep_s = 1e12", "assembly.sweep_s", "at most 604800000"),
    (f"{PEER}networks = [1]", "peer.0.networks.0", "a network is written as in"),
    ('[site]\nuid_root = "1.2.840.10008.5"', "site.uid_root", "the root of DICOM itself"),
    ('[listen]\nhost = "10.1.0.5:104"', "listen.host", "a name or an IP address alone"),
    ('[broker]\nurl = "redis://localhost/0?bogus=1"', "broker.url", r"after \? only db, .* may stand"),
    ('[broker]\nurl = "redis://localhost/0?socket_timeout=abc"', "broker.url", r"value of socket_timeout after \?"),
    ('[broker]\nurl = "rediss://localhost/0?ssl_cert_reqs=maybe"', "broker.url", "value of ssl_cert_reqs"),
    ('[ledger]\nurl = "postgresql://db/axrad?sslmode=require"', "ledger.url", r"after \? only application_name"),
    ('[[destination]]\nname = "a"', "destination.0", "needs either pacs, or ae_title, host and port"),
    (f"{AE}{AE}", "destination", r"two \[\[destination\]\] are named a"),
    (f"{AE}what = []", "destination.0.what", "at least 1 entries"),
    (f'{AE}pacs = "main"\n{PACS}', "destination.0.ae_title", "not used, since pacs is set"),
    (f'{AE}via = "stow"', "destination.0", "needs a pacs with a dicomweb_url"),
    (
        '[[destination]]\nname = "a"\nae_title = "AXRAD"\nhost = "localhost"\nport = 11112',
        "destination.0.host",
        "axrad's own listener",
    ),
    ('[sequences]\nphase = "late"', "sequences.phase", "first_post"),
    ('[sequences]\nrules = "NOWHERE"', "sequences.rules", "there is no file"),
    ('[sequences.use]\nt1c = "1.2.x"', "sequences.use.t1c", "a UID has at most 64 characters"),
    ('[sequences.use]\nt9 = "1.2.3"', "sequences.use.t9", "one of 't1c', 't2' or 'adc'"),
    ('[roi]\nrules = "FOLDER"', "roi.rules", "is a folder; a file is needed"),
    ("[align]\nmin_kept_volume = 3", "align.min_kept_volume", r"more than align\.max_kept_volume"),
    ("[bias]\nmesh = [1, 1]", "bias.mesh.2", "must be given"),
    ('[features]\nparams = "NOWHERE"', "features.params", "there is no file"),
    ('[signature]\npath = "NOWHERE"', "signature.path", "there is no file"),
    ('[signature]\nregistry = "FILE"', "signature.registry", "is a file; a folder is needed"),
    ('[signature]\npath = "FILE"\nregistry = "FOLDER"', "signature.path", r"signature\.registry is set too"),
    ('[report]\nmanufacturer = ""', "report.manufacturer", "at least 1 characters"),
    ('[clinical]\nfhir_url = "fhir.example.org"', "clinical.fhir_url", "begins with http:// or https://"),
    (f'[clinical]\nfhir_token = "{SECRET}"', "clinical.fhir_url", "is missing"),
    ('[clinical]\nregistry = "FOLDER"', "clinical.registry", "is a folder; a file is needed"),
    ('[audit]\npath = "FOLDER"', "audit.path", "is a folder; a file is needed"),
    ('[audit]\nsyslog = "udp://log"', "audit.syslog", "host and port as in"),
    ('[audit]\nsyslog = "udp://log:70000"', "audit.syslog", "cannot be read"),
    ('[metrics]\nfolder = "FILE"', "metrics.folder", "is a file; a folder is needed"),
    ('[notify]\nwebhook_url = "example.org"', "notify.webhook_url", "begins with http:// or https://"),
    ('[notify]\non = ["everything"]', "notify.on.0", "one of 'failed'"),
    (EMAIL.replace("axrad@", ""), "notify.email.sender", "an e-mail address is needed"),
    (f'{EMAIL}user = "u"', "notify.email.user", "go together"),
    (f'{EMAIL}pasword = "{SECRET}"', "unknown key notify.email.pasword", r"did you mean notify\.email\.password\?"),
    ('[flower]\nuser = "a:b"', "flower.user", "pattern"),
    ('[log]\nlevel = "LOUD"', "log.level", "one of 'debug'"),
    ("listen = [", "", "is not TOML"),
    ("a" + ".a" * 5000 + " = 1", "unknown key a", "did you mean"),
    ("a = " + "[" * 5000, "", "nested too deeply"),
]


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    return tmp_path


def written(places: Path, text: str) -> Path:
    for word, name in (("FILE", "file"), ("FOLDER", "folder"), ("NOWHERE", "nowhere")):
        text = text.replace(f'"{word}', f'"{places / name}').replace(f"///{word}", f"///{places / name}")
    path = places / "axrad.toml"
    path.write_text(text + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "key", "sentence"), WRONG)
def test_a_wrong_setting_is_told_with_its_key_and_what_is_allowed(
    places: Path,
    text: str,
    key: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the command line, which ends with 2 and no traceback; and no folder was made on the way."""
    path = written(places, text)
    before = sorted(places.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["axrad", "refused", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith(f"axrad: {key}")
    assert re.search(sentence, told), told
    assert "Traceback" not in told
    assert SECRET not in told
    assert sorted(places.rglob("*")) == before


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(WRONG) >= 80


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AXRAD_LISTEN__PORT", "dicom", r"listen\.port \(AXRAD_LISTEN__PORT in the environment\): .*whole number"),
        ("AXRAD_SITE__TIMEZONE", "Mars", r"site\.timezone \(AXRAD_SITE__TIMEZONE in the environment\)"),
        ("AXRAD_LISTEN_PORT", "104", "two underscores; did you mean AXRAD_LISTEN__PORT"),
        ("AXRAD_LISTEN__PORTS", "104", r"unknown key listen\.ports \(AXRAD_LISTEN__PORTS.*did you mean listen\.port\?"),
        ("AXRAD_LISTEN__PORT__X", "104", r"AXRAD_LISTEN__PORT|listen\.port"),
        ("AXRAD_PEER", "MR1", r"peer \(AXRAD_PEER in the environment\): must be a list"),
        ("AXRAD_PEER", "[{", "AXRAD_PEER in the environment is not JSON"),
        ("AXRAD_PEER", "[" * 100_000, "AXRAD_PEER in the environment: the JSON is nested too deeply"),
        ("AXRAD_PEER", '[{"ae_title": "A", "networks": ["10.0.0.1/8"]}]', r'peer\.0\.networks.*write "10\.0\.0\.0/8"'),
        ("AXRAD_PEER__0__AE_TITLE", "MR1", "give the whole of it as JSON in AXRAD_PEER"),
        ("AXRAD_SPOOL__PATH", "/dev/null/spool", r"spool\.path \(AXRAD_SPOOL__PATH in the environment\): .*Not a dir"),
        ("AXRAD_ASSEMBLY__REQUIRE_ROIS", "tumor", r"assembly\.require_rois .*list in brackets"),
        ("AXRAD_SITE__INSTITUTION", "\udcff", r"site\.institution .*UTF-8"),
        ("AXRAD___", "1", "unknown key"),
    ],
)
def test_a_wrong_value_in_the_environment_is_told_with_its_variable(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: value})
    assert re.search(sentence, str(caught.value)), str(caught.value)


def test_all_that_is_wrong_is_told_at_once(places: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(places, '[listen]\nport = 99999\n[site]\ntimezone = "Mars"'), environ={})
    assert len(str(caught.value).splitlines()) == 2


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "axrad.toml"
    path.write_bytes(b'\xef\xbb\xbf[site]\r\ninstitution = "M\xc3\xbcnchen"\r\n')
    assert load(path, environ={}).site.institution == "München"


@pytest.mark.parametrize("codec", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_told_so(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "axrad.toml"
    path.write_bytes('[site]\ninstitution = "München"\n'.encode(codec))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load(path, environ={})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/null/axrad.toml", "Not a directory"),
        ("/tmp", "Is a directory"),
        ("/dev/zero", "is no settings file: it has more than"),
        ("/no/such/axrad.toml", "No such file"),
        ("a\0b", "it is no path"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_so(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(environ={"AXRAD_CONFIG": name})


def as_nobody(folder: Path, calls: str) -> str:
    """What is told by a process that is not root, where this one is: root may read and write everything."""
    code = (
        "import os\nfrom pathlib import Path\nfrom config.load import load\n"
        f"folder = Path({str(folder)!r})\nif os.geteuid() == 0:\n    os.setuid(65534)\n{calls}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    return done.stderr


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_that_this_user_may_not_read_is_told_so(shared: Path) -> None:
    (shared / "axrad.toml").write_text("[listen]\n")
    (shared / "axrad.toml").chmod(0)
    assert "cannot read the configuration" in as_nobody(shared, "load(folder / 'axrad.toml', environ={})")


def test_a_folder_that_cannot_be_written_is_told_unless_nothing_will_be(shared: Path) -> None:
    (shared / "shut").mkdir(mode=0o555)
    told = as_nobody(
        shared,
        "environ = {'AXRAD_SPOOL__PATH': str(folder / 'shut' / 'spool')}\n"
        "load(environ=environ, writes=False)\nload(environ=environ)",
    )
    assert "shut must be writable for the user that runs axrad" in told
    assert not (shared / "shut" / "spool").exists()


def test_an_empty_variable_of_a_key_that_may_be_unset_unsets_it() -> None:
    """As a compose file passes on what nobody set."""
    assert load(environ={"AXRAD_LEDGER__URL": "", "AXRAD_NOTIFY__WEBHOOK_URL": ""}).ledger.url is None


@pytest.mark.parametrize("title", ["A", "WORKSTATION_0001", " MR 1 ", "a.b-c/d"])
def test_what_is_an_ae_title_is_taken(title: str) -> None:
    assert load(environ={"AXRAD_LISTEN__AE_TITLE": title}).listen.ae_title == title.strip()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AXRAD_BROKER__URL", "redis://:p%40ss@127.0.0.1:6379/0"),
        ("AXRAD_BROKER__URL", "redis+socket:///run/redis.sock"),
        ("AXRAD_LEDGER__URL", "postgresql+pg8000://axrad:pw@/axrad?unix_sock=/var/run/postgresql/.s.PGSQL.5432"),
        ("AXRAD_LEDGER__URL", "sqlite://"),
        ("AXRAD_LISTEN__HOST", "::1"),
        ("AXRAD_LISTEN__HOST", ""),
        ("AXRAD_AUDIT__SYSLOG", "udp://[::1]:514"),
        ("AXRAD_SITE__UID_ROOT", "1.2.826.0.1.3680043.10.1234"),
        ("AXRAD_SITE__TIMEZONE", "America/Argentina/Buenos_Aires"),
        ("AXRAD_METRICS__LISTENER_HOST", "my_host.local"),
    ],
)
def test_what_is_right_is_taken(variable: str, value: str) -> None:
    load(environ={variable: value})


def test_one_ae_title_may_come_from_several_networks_and_ports_repeat_on_other_addresses() -> None:
    peers = '[{"ae_title": "MR1", "networks": ["10.1.0.0/16"]}, {"ae_title": "MR1", "networks": ["10.2.0.0/16"]}]'
    environ = {"AXRAD_PEER": peers, "AXRAD_LISTEN__HOST": "10.1.0.9", "AXRAD_LISTEN__PORT": "11180"}
    assert len(load(environ=environ).peer) == 2
