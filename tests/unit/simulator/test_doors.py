from worker.simulator import Auth, Throttle
from worker.simulator.doors import AuthDoor, RateDoor


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(door: AuthDoor, header: str = "", cookie: str = "") -> bool:
    return door.admit(
        {"Authorization": header} if header else {}, {"asc_auth_key": cookie} if cookie else {}
    ).admitted


def test_a_token_is_taken_bare_as_bearer_and_as_cookie() -> None:
    door = AuthDoor(Auth(token="t"), Clock())

    assert admitted(door, "t")
    assert admitted(door, "Bearer t")
    assert admitted(door, "", "t")
    assert admitted(door, "Bearer wrong", "t")
    assert not admitted(door, "bearer t")
    assert not admitted(door, "wrong")
    assert not admitted(door)


def test_a_token_dies_of_use_and_a_login_gives_a_new_one() -> None:
    door = AuthDoor(Auth(token="t", username="u", password="p", expires_after_requests=2), Clock())

    assert [admitted(door, "t") for _ in range(3)] == [True, True, False]
    assert door.login("u", "p") == "ok"
    assert [admitted(door, door.issue()) for _ in range(2)] == [True, True]


def test_revoked_means_every_token_and_every_login() -> None:
    door = AuthDoor(Auth(token="t", username="u", password="p", revoke_after_requests=1), Clock())
    other = door.issue()

    assert [admitted(door, "t"), admitted(door, "t"), admitted(door, other)] == [True, False, False]
    assert door.login("u", "p") == "wrong"


def test_the_sixth_failed_login_within_a_minute_is_locked_out() -> None:
    clock = Clock()
    door = AuthDoor(Auth(username="u", password="p"), clock)

    assert [door.login("u", "x") for _ in range(6)] == ["wrong"] * 5 + ["too_many"]
    assert door.login("u", "p") == "too_many"
    assert door.login("other", "x") == "wrong"
    clock.now = 60.0
    assert door.login("u", "p") == "ok"


def test_good_logins_one_after_the_other_lock_nobody_out() -> None:
    door = AuthDoor(Auth(username="u", password="p"), Clock())

    assert {door.login("u", "p") for _ in range(20)} == {"ok"}


def test_no_window_holds_more_than_the_limit() -> None:
    door = RateDoor(Throttle(limit=2, window=1.0))

    assert [door.lets_in(at) for at in (0.0, 0.5, 0.9, 1.0, 1.4, 1.5)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_what_is_left_of_a_limit_comes_back_with_the_oldest_that_was_served() -> None:
    door = RateDoor(Throttle(limit=2, window=1.0))
    left = [door.quota(0.0)]
    for at in (0.0, 0.5, 0.75):
        door.lets_in(at)
        left.append(door.quota(at))
    left.append(door.quota(1.25))

    assert left == [(2, 0.0), (1, 1.0), (0, 0.5), (0, 0.25), (1, 0.25)]


def test_no_limit_lets_everybody_in() -> None:
    assert all(RateDoor(Throttle()).lets_in(0.0) for _ in range(1000))
