"""Who we are to the portal. Waiting is virtual."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from worker.errors import Exit, PortalRefused, UsageError
from worker.portal import auth
from worker.portal.auth import LOGIN_INTERVAL, Credentials, Tokens

Run = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = "s3cr3t-of-mine"
LOGIN = Credentials(username="user", password=SecretStr(SECRET))


@pytest.fixture
def run(virtual_time: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run to the end on virtual time, and let ``time.monotonic`` of the module be that time."""
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))
    return virtual_time


class Portal:
    """Hands out tokens ``t1``, ``t2``, ... and keeps a book of who logged in when."""

    def __init__(self, *tokens: str | Exception, takes: float = 0.5) -> None:
        self.tokens = list(tokens)
        self.takes = takes
        self.logins: list[tuple[float, str, str]] = []
        self.at_once = self.most_at_once = 0

    async def log_in(self, username: str, password: str) -> str:
        self.logins.append((asyncio.get_running_loop().time(), username, password))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes)
        self.at_once -= 1
        answer = self.tokens.pop(0) if self.tokens else f"t{len(self.logins)}"
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.logins]


async def never(_username: str, _password: str) -> str:
    pytest.fail("logged in though there is a token")


async def token_of(tokens: Tokens) -> str:
    """The token that a request would be sent with."""
    await tokens.ready()
    return tokens.token


async def renew(tokens: Tokens, refused: str) -> bool:
    """What the answer 401 to a token leads to: whether there is another."""
    if not tokens.refused(refused):
        return False
    await tokens.ready()
    return True


def test_many_callers_share_one_log_in(run: Run) -> None:
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        assert await asyncio.gather(*(token_of(tokens) for _ in range(100))) == ["t1"] * 100
        assert await token_of(tokens) == "t1"

    run(work())
    assert [login[1:] for login in portal.logins] == [("user", SECRET)]


def test_the_first_log_in_waits_for_nothing(run: Run) -> None:
    portal = Portal()

    async def work() -> float:
        started = asyncio.get_running_loop().time()
        await token_of(Tokens(LOGIN, portal.log_in))
        return asyncio.get_running_loop().time() - started

    assert run(work()) == pytest.approx(0.5)


def test_many_refused_requests_share_one_renewal(run: Run) -> None:
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        token = await token_of(tokens)
        tokens.accepted(token)
        assert await asyncio.gather(*(renew(tokens, "t1") for _ in range(100))) == [True] * 100
        assert await token_of(tokens) == "t2"

    run(work())
    assert len(portal.logins) == 2
    assert portal.most_at_once == 1


def test_a_request_that_left_with_an_old_token_does_not_renew_the_new_one(run: Run) -> None:
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        tokens.accepted(await token_of(tokens))
        assert await renew(tokens, "t1")
        tokens.accepted("t2")
        assert await renew(tokens, "t1")
        assert await token_of(tokens) == "t2"

    run(work())
    assert len(portal.logins) == 2


def test_log_ins_are_never_closer_than_the_interval(run: Run) -> None:
    """The portal locks an account after five tries in a minute."""
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        for wait in (0.0, 3.0, LOGIN_INTERVAL, 100.0, 0.0):
            token = await token_of(tokens)
            tokens.accepted(token)
            await asyncio.sleep(wait)
            assert await renew(tokens, token)

    run(work())
    gaps = [after - before for before, after in zip(portal.times, portal.times[1:], strict=False)]
    assert gaps == pytest.approx(
        [LOGIN_INTERVAL, LOGIN_INTERVAL, LOGIN_INTERVAL + 0.5, 100.5, LOGIN_INTERVAL]
    )


def test_a_failed_log_in_counts_for_the_interval_and_is_not_the_last_word(run: Run) -> None:
    portal = Portal(PortalRefused("wrong password"))

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        with pytest.raises(PortalRefused):
            await token_of(tokens)
        assert await token_of(tokens) == "t2"

    run(work())
    assert portal.times[1] - portal.times[0] == pytest.approx(LOGIN_INTERVAL)


def test_a_token_that_was_refused_before_it_was_ever_accepted_is_not_renewed(run: Run) -> None:
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        assert await renew(tokens, await token_of(tokens)) is False

    run(work())
    assert len(portal.logins) == 1


def test_each_new_token_has_to_be_accepted_before_it_is_worth_a_log_in(run: Run) -> None:
    portal = Portal()

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        tokens.accepted(await token_of(tokens))
        assert await renew(tokens, "t1") is True
        tokens.accepted("t1")  # an answer that was on its way: it says nothing of the new one
        assert await renew(tokens, "t2") is False
        tokens.accepted("t2")
        tokens.accepted("t1")
        assert await renew(tokens, "t2") is True

    run(work())
    assert len(portal.logins) == 3


def test_a_log_in_that_gives_the_same_token_again_is_not_repeated_when_that_is_refused(run: Run) -> None:
    portal = Portal("same", "same")

    async def work() -> None:
        tokens = Tokens(LOGIN, portal.log_in)
        tokens.accepted(await token_of(tokens))
        assert await renew(tokens, "same") is True
        assert await renew(tokens, "same") is False

    run(work())
    assert len(portal.logins) == 2


def test_between_a_refusal_and_the_next_log_in_there_is_no_token(run: Run) -> None:
    async def work() -> None:
        tokens = Tokens(LOGIN, Portal().log_in)
        assert tokens.token == ""
        tokens.accepted(await token_of(tokens))
        assert tokens.refused("t1")
        assert tokens.token == ""
        assert await token_of(tokens) == "t2"

    run(work())


def test_a_given_token_is_not_logged_in_for_and_cannot_be_renewed(run: Run) -> None:
    async def work() -> None:
        tokens = Tokens(Credentials(token=SecretStr(" given ")), never)
        assert await token_of(tokens) == "given"
        tokens.accepted("given")
        assert await renew(tokens, "given") is False

    run(work())


def test_a_token_wins_over_a_user_name(run: Run) -> None:
    async def work() -> None:
        credentials = Credentials(token=SecretStr("given"), username="user", password=SecretStr(SECRET))
        assert await token_of(Tokens(credentials, never)) == "given"

    run(work())


def test_a_token_file_is_read_again_when_its_token_no_longer_counts(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")

    async def work() -> None:
        tokens = Tokens(Credentials(token_file=path), never)
        assert await token_of(tokens) == "first"
        path.write_text("second\n")
        assert await token_of(tokens) == "first"
        assert await renew(tokens, "first") is True
        assert await token_of(tokens) == "second"
        assert await renew(tokens, "second") is False  # nobody has written a new one

    run(work())


def test_a_token_file_that_is_gone_when_it_is_read_again_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")

    async def work() -> None:
        tokens = Tokens(Credentials(token_file=path), never)
        await token_of(tokens)
        path.unlink()
        with pytest.raises(UsageError, match=f"^BULKLINK_TOKEN_FILE: {path}: No such file or directory$"):
            await renew(tokens, "first")

    run(work())


@pytest.mark.parametrize(
    "text", ["", "  \n", "two\nlines", "tab\there", "Zoë", "nul\0", "\ufefftoken", "esc\x1b"]
)
def test_a_text_that_no_header_can_carry_is_no_token(text: str) -> None:
    with pytest.raises(UsageError, match=r"^the token is no token: ") as caught:
        Credentials(token=SecretStr(text)).read_token()

    assert not text.strip() or text.strip() not in str(caught.value)
    assert caught.value.exit_code is Exit.USAGE


def test_a_log_in_that_brings_no_token_is_told_apart(run: Run) -> None:
    portal = Portal(f"{SECRET}\nX-Injected: 1")

    async def work() -> None:
        with pytest.raises(UsageError, match=r"^the token of the log-in is no token: ") as caught:
            await token_of(Tokens(LOGIN, portal.log_in))
        assert SECRET not in str(caught.value)

    run(work())


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file or directory"), (b" \n", "is empty"), (b"\xff", "not UTF-8 text")],
)
def test_a_secret_file_that_cannot_be_used_is_told_by_variable_and_path(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError, match=f"^BULKLINK_TOKEN_FILE: {path}: {why}$"):
        Credentials(token_file=path).read_token()
    with pytest.raises(UsageError, match=f"^BULKLINK_PASSWORD_FILE: {path}: {why}$"):
        Credentials(username="user", password_file=path).read_login()


def test_a_password_comes_as_it_is_and_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pä ss\n", encoding="utf-8")

    assert Credentials(username="user", password_file=tmp_path / "password").read_login() == ("user", "pä ss")
    assert Credentials(username="user", password=SecretStr(" x ")).read_login() == ("user", " x ")


def test_missing_credentials_are_told_by_the_variables_that_give_them() -> None:
    with pytest.raises(UsageError, match="no credentials: set BULKLINK_TOKEN or BULKLINK_TOKEN_FILE"):
        Credentials()
    with pytest.raises(UsageError, match="no credentials"):
        Credentials(password=SecretStr(SECRET))
    with pytest.raises(UsageError, match="no password: set BULKLINK_PASSWORD or BULKLINK_PASSWORD_FILE"):
        Credentials(username="user")


def test_values_are_shown_nowhere(run: Run) -> None:
    credentials = Credentials(token=SecretStr(SECRET), username="user", password=SecretStr(SECRET))
    portal = Portal(SECRET)

    async def work() -> Tokens:
        tokens = Tokens(LOGIN, portal.log_in)
        await tokens.ready()
        assert tokens.token == SECRET
        return tokens

    tokens = run(work())
    for thing in (credentials, LOGIN, tokens):
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)


def test_a_token_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfabc\r\n")

    assert Credentials(token_file=tmp_path / "token").read_token() == "abc"
