"""Settings are read once, checked whole, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.load import ConfigError, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "axrad.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_listen_on_this_machine_only() -> None:
    settings = load(environ={})
    assert (settings.listen.host, settings.listen.port, settings.listen.ae_title) == ("127.0.0.1", 11112, "AXRAD")
    assert settings.peer == ()
    assert settings.assembly.quiet_s == 120


def test_an_unknown_key_is_an_error_that_names_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key assembly\.quiet; did you mean assembly\.quiet_s\?"):
        load(written(tmp_path, "[assembly]\nquiet = 5\n"), environ={})


def test_an_unknown_key_inside_a_list_of_tables_is_named_too(tmp_path: Path) -> None:
    text = '[[destination]]\nname = "a"\nae_title = "B"\nhost = "h"\nport = 1\nprof = "status"\n'
    with pytest.raises(ConfigError, match=r"destination\.0\.prof; did you mean destination\.0\.proof\?"):
        load(written(tmp_path, text), environ={})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[listen]\nport = 104\n")
    settings = load(path, environ={"AXRAD_LISTEN__PORT": "11200", "AXRAD_ASSEMBLY__QUIET_S": "5"})
    assert (settings.listen.port, settings.assembly.quiet_s) == (11200, 5.0)


def test_arrays_in_the_environment_are_json() -> None:
    settings = load(environ={"AXRAD_PEER": '[{"ae_title": "MR1", "networks": ["10.1.0.0/16"]}]'})
    assert settings.peer[0].ae_title == "MR1"
    assert str(settings.peer[0].networks[0]) == "10.1.0.0/16"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("::ffff:10.1.0.0/112", "10.1.0.0/16"), ("::ffff:10.1.0.5", "10.1.0.5/32"), ("::/0", "::/0")],
)
def test_a_network_of_ipv4_that_is_written_as_ipv6_is_that_of_ipv4(written: str, meant: str) -> None:
    """As the addresses of callers are compared, whatever socket they came through."""
    settings = load(environ={"AXRAD_PEER": f'[{{"ae_title": "MR1", "networks": ["{written}"]}}]'})
    assert str(settings.peer[0].networks[0]) == meant


def test_a_broker_elsewhere_needs_a_ledger_that_both_reach() -> None:
    with pytest.raises(ConfigError, match=r"ledger\.url must be set"):
        load(environ={"AXRAD_BROKER__URL": "redis://queue.example:6379/0"})


def test_a_broker_on_this_machine_may_use_the_ledger_beside_the_spool() -> None:
    assert load(environ={"AXRAD_BROKER__URL": "redis://127.0.0.1:6379/0"}).ledger.url is None


def test_a_destination_must_name_a_pacs_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no \\[\\[pacs\\]\\] is named attic"):
        load(written(tmp_path, '[[destination]]\nname = "a"\npacs = "attic"\n'), environ={})


def test_relative_paths_lie_beside_the_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[spool]\npath = "spool"\n'), environ={})
    assert settings.spool.path == tmp_path / "spool"


def test_a_wrong_value_is_named_without_being_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={"AXRAD_FLOWER__PORT": "hunter2"})
    assert "flower.port" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_text_that_is_not_toml_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        load(written(tmp_path, "listen = ["), environ={})
