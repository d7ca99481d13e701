"""Users of the console: passwords, one-time codes, roles, sessions."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.load import load
from daemon.cli.console import console
from daemon.cli.up import up
from daemon.console import passwords, sessions
from daemon.console.rights import ACTIONS, PAGES, ROLES, may
from daemon.console.sessions import Sessions
from daemon.console.user_file import BadUserFile, UserFile
from daemon.processes.supervisor import Supervisor
from pipeline.errors import InputRejected

PASSWORD = "correct horse battery"
NOW = 1_800_000_000.0
STEP = int(NOW // passwords.STEP_S)


@pytest.fixture
def users(tmp_path: Path) -> UserFile:
    return UserFile(tmp_path / "console-users.json")


def test_a_password_is_kept_as_argon2id_and_opens(users: UserFile) -> None:
    users.add("li.na", "radiologist", PASSWORD)
    user = users.all()["li.na"]
    assert user.password.startswith("$argon2id$")
    assert PASSWORD not in users.path.read_text(encoding="utf-8")
    assert passwords.is_right(user.password, PASSWORD)
    assert not passwords.is_right(user.password, PASSWORD + "x")
    assert not passwords.is_right("no hash", PASSWORD)
    assert not passwords.is_right(user.password, "x" * 100_000)


def test_the_file_of_users_is_its_users_alone(users: UserFile) -> None:
    users.add("li.na", "viewer", PASSWORD)
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600


def test_neither_password_nor_secret_is_in_what_a_user_prints_as(users: UserFile) -> None:
    secret = users.add("li.na", "viewer", PASSWORD)
    assert secret not in repr(users.all())
    assert "argon2" not in repr(users.all())


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "x" * 65, "名字", "../x", "<b>"])
def test_a_name_that_does_not_belong_into_the_trail_is_refused(users: UserFile, name: str) -> None:
    with pytest.raises(InputRejected, match="letters, digits"):
        users.add(name, "viewer", PASSWORD)


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 257])
def test_a_password_that_is_too_short_or_too_long_is_refused(users: UserFile, password: str) -> None:
    with pytest.raises(InputRejected, match="12 to 256"):
        users.add("li.na", "viewer", password)


def test_a_code_opens_once_and_so_does_none_that_is_older(users: UserFile) -> None:
    secret = users.add("li.na", "viewer", PASSWORD)
    assert users.take_code("li.na", passwords.code_at(secret, STEP), NOW)
    assert not users.take_code("li.na", passwords.code_at(secret, STEP), NOW)
    assert not users.take_code("li.na", passwords.code_at(secret, STEP - 1), NOW)
    assert users.take_code("li.na", passwords.code_at(secret, STEP + 1), NOW)
    assert not users.take_code("nobody", passwords.code_at(secret, STEP + 1), NOW)


@pytest.mark.parametrize(("away", "opens"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_may_be_one_step_early_or_late(users: UserFile, away: int, opens: bool) -> None:
    secret = users.add("li.na", "viewer", PASSWORD)
    assert users.take_code("li.na", passwords.code_at(secret, STEP + away), NOW) is opens


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345"])
def test_what_is_no_code_opens_nothing(users: UserFile, code: str) -> None:
    users.add("li.na", "viewer", PASSWORD)
    assert not users.take_code("li.na", code, NOW)


def test_the_codes_are_those_of_rfc_6238() -> None:
    """Appendix B, SHA-1, the last six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")):
        assert passwords.code_at(secret, seconds // 30) == code


def test_another_role_or_password_begins_another_generation(users: UserFile) -> None:
    users.add("li.na", "viewer", PASSWORD)
    seen = {users.all()["li.na"].generation}
    users.set_role("li.na", "admin")
    seen.add(users.all()["li.na"].generation)
    users.add("li.na", "admin", PASSWORD)
    seen.add(users.all()["li.na"].generation)
    assert len(seen) == 3


def test_what_another_process_changes_is_seen(users: UserFile) -> None:
    other = UserFile(users.path)
    assert other.get("li.na") is None
    users.add("li.na", "viewer", PASSWORD)
    assert other.get("li.na") is not None
    users.remove("li.na")
    assert other.get("li.na") is None
    with pytest.raises(InputRejected, match="no user li"):
        users.set_role("li.na", "admin")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"schema": "axrad.console-users/1"}', '{"schema": "other", "users": {}}',
        '{"schema": "axrad.console-users/1", "users": {"a": {"name": "b", "role": "admin"}}}',
        '{"schema": "axrad.console-users/1", "users": {"a": {"name": "a", "role": "root"}}}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_file_lets_nobody_in_and_says_so(users: UserFile, text: str) -> None:
    users.path.write_text(text, encoding="utf-8")
    with pytest.raises(BadUserFile, match="no file of console users"):
        users.all()


def test_every_right_is_given_to_somebody_and_none_is_given_by_mistake() -> None:
    assert all(roles and roles <= set(ROLES) for roles in (*PAGES.values(), *ACTIONS.values()))
    assert not PAGES.keys() & ACTIONS.keys()
    assert not any(may(role, "no such page") for role in ROLES)


# Sessions


def at(times: list[float]) -> Sessions:
    return Sessions(900.0, 3600.0, lambda: times[0])


def test_a_session_ends_after_its_time_without_a_request() -> None:
    times = [0.0]
    house = at(times)
    token, session = house.begin("li.na", "viewer", "g", "en")
    times[0] = 899.0
    assert house.get(token) is session
    times[0] = 899.0 + 900.0
    assert house.get(token) is None
    times[0] = 0.0
    assert house.get(token) is None, "what has ended stays so"


def test_a_session_ends_after_the_longest_time_however_busy() -> None:
    times = [0.0]
    house = at(times)
    token, _ = house.begin("li.na", "viewer", "g", "en")
    for second in range(0, 3600, 600):
        times[0] = float(second)
        assert house.get(token) is not None
    times[0] = 3600.0
    assert house.get(token) is None


def test_tokens_are_long_differ_and_are_not_kept() -> None:
    house = at([0.0])
    tokens = {house.begin("li.na", "viewer", "g", "en")[0] for _ in range(10)}
    assert len(tokens) == 10
    assert all(len(token) >= 43 for token in tokens)
    assert not any(token in repr(vars(house)) for token in tokens)
    assert house.get("x") is None
    assert house.get("") is None


def test_one_user_has_so_many_sessions_and_the_oldest_goes_first() -> None:
    times = [0.0]
    house = at(times)
    made = []
    for number in range(sessions.MOST_OF_A_USER + 1):
        times[0] = float(number)
        made.append(house.begin("li.na", "viewer", "g", "en")[0])
    assert house.get(made[0]) is None
    assert all(house.get(token) for token in made[1:])


# The command line


def config(tmp_path: Path) -> Path:
    path = tmp_path / "axrad.toml"
    path.write_text('[spool]\npath = "spool"\n', encoding="utf-8")
    return path


def test_the_first_admin_is_added_on_the_command_line(tmp_path: Path) -> None:
    secret_file = tmp_path / "password"
    secret_file.write_text(PASSWORD + "\n", encoding="utf-8")
    words = ["user", "add", "root", "--role", "admin", "--password-file", str(secret_file), "--json"]
    done = CliRunner().invoke(console, [*words, "--config", str(config(tmp_path))])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["otpauth"].startswith("otpauth://totp/axrad:root?secret=")
    users = UserFile(tmp_path / "console-users.json")
    user = users.all()["root"]
    assert passwords.is_right(user.password, PASSWORD)
    assert user.totp == answer["secret"]
    listed = CliRunner().invoke(console, ["user", "list", "--config", str(config(tmp_path)), "--json"])
    assert json.loads(listed.stdout) == {"users": [{"user": "root", "role": "admin"}]}
    trail = (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    assert "console-user" in trail
    assert answer["secret"] not in trail
    assert PASSWORD not in trail


def test_a_role_is_changed_and_a_user_removed_on_the_command_line(tmp_path: Path) -> None:
    path = ["--config", str(config(tmp_path))]
    UserFile(tmp_path / "console-users.json").add("li.na", "viewer", PASSWORD)
    assert CliRunner().invoke(console, ["user", "role", "li.na", "--role", "operator", *path]).exit_code == 0
    assert UserFile(tmp_path / "console-users.json").all()["li.na"].role == "operator"
    assert CliRunner().invoke(console, ["user", "remove", "li.na", *path]).exit_code == 0
    assert UserFile(tmp_path / "console-users.json").all() == {}


def test_without_a_user_the_console_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(console, ["--config", str(config(tmp_path))])
    assert isinstance(done.exception, InputRejected)
    assert "axrad console user add" in done.exception.message


def test_up_with_the_console_needs_a_user_and_then_keeps_it_running(tmp_path: Path) -> None:
    done = CliRunner().invoke(up, ["--console", "--config", str(config(tmp_path))])
    assert isinstance(done.exception, InputRejected)
    assert "axrad console user add" in done.exception.message
    settings = load(config(tmp_path), environ={})
    names = [child.name for child in Supervisor(settings, None, flower=False, console=True).children]
    assert "console" in names
    assert "console" not in [child.name for child in Supervisor(settings, None, flower=False).children]
