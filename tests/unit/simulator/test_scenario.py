from pathlib import Path

import pytest

from worker.simulator import Fault, Outage, Scenario

_EXAMPLES = Path(__file__).parents[2] / "scenarios"


def test_every_scenario_of_the_package_can_be_read() -> None:
    assert set(Scenario.names()) >= {"calm", "demo", "limit_req"}
    for name in Scenario.names():
        assert isinstance(Scenario.named(name), Scenario)


@pytest.mark.parametrize("path", sorted(_EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_scenario_that_the_readme_points_to_can_be_read(path: Path) -> None:
    assert Scenario.load(path).faults


def test_an_empty_text_is_a_portal_without_faults() -> None:
    assert Scenario.from_toml("") == Scenario()


def test_a_scenario_is_read_into_values() -> None:
    scenario = Scenario.from_toml(
        """
        seed = 7
        [portal]
        missing_contacts = [13, 77]
        linked = [[1, 2], [1, 3]]
        primary = { 1 = 2 }
        [throttle]
        window = 5
        [[faults]]
        kind = "reset"
        share = 0.01
        after_store = true
        only = [[4, 5]]
        [[outages]]
        kind = "closed_503"
        after = 100
        seconds = 3
        """
    )

    assert scenario.seed == 7
    assert scenario.portal.missing_contacts == {13, 77}
    assert scenario.portal.linked == {(1, 2), (1, 3)}
    assert scenario.portal.primary == {1: 2}
    assert scenario.throttle.window == 5.0
    assert scenario.faults == (Fault(kind="reset", share=0.01, after_store=True, only=frozenset({(4, 5)})),)
    assert scenario.outages == (Outage(kind="closed_503", after=100, seconds=3.0),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 7", "unknown key 'sead'"),
        ("[latency]\nsecond = 1", "unknown key 'latency.second'"),
        ("[[faults]]\n[[faults]]\nshares = 1", "unknown key 'faults[1].shares'"),
        ("[[outages]]\nshare = 0.5", "unknown key 'outages[0].share'"),
        ("seed = true", "'seed' must be a whole number, not True"),
        ("seed = '7'", "'seed' must be a whole number"),
        ("portal = 3", "'portal' must be a table"),
        ("faults = 3", "'faults' must be a list"),
        ("[latency]\nseconds = 'x'", "'latency.seconds' must be a number"),
        ("[books]\ndetail = 1", "'books.detail' must be true or false"),
        ("[auth]\ntoken = 1", "'auth.token' must be text"),
        ("[auth]\ntwo_factor = 'pigeon'", "'auth.two_factor' must be one of '', 'sms', 'tfa', not 'pigeon'"),
        ("[[faults]]\nkind = 'rest'", "'faults[0].kind' must be one of 'status', 'reset'"),
        ("[[faults]]\nshare = 2.0", "faults[0]: 'share' must be between 0 and 1, not 2.0"),
        ("[portal]\nlinked = [[1]]", "'portal.linked' must be a list of [opportunity, contact]"),
        ("[portal]\nlinked = [[true, 1]]", "'portal.linked' must be a list of [opportunity, contact]"),
        ("[[faults]]\nonly = [[1, false]]", "'faults[0].only' must be a list of [opportunity, contact]"),
        ("[portal]\nmissing_contacts = [true]", "'portal.missing_contacts' must be a whole number, not True"),
        ("[portal]\ncontacts = 5.0", "'portal.contacts' must be a whole number, not 5.0"),
        ("[portal.primary]\nx = 1", "'portal.primary' must be a table of opportunity = contact"),
        ("[portal.primary]\n1 = true", "'portal.primary' must be a whole number, not True"),
        ("[latency]\nseconds = true", "'latency.seconds' must be a number, not True"),
        ("[latency]\nseconds = nan", "'latency.seconds' must be a number, not nan"),
        ("[[outages]]\nseconds = inf", "'outages[0].seconds' must be a number, not inf"),
        (f"[throttle]\nwindow = {'9' * 400}", "'throttle.window' must be a number, not 999"),
        (f"seed = {'9' * 5000}", "not TOML"),
        (f"seed = {'[' * 5000}", "not TOML"),
        ("seed = ", "not TOML: "),
    ],
)
def test_a_mistake_is_refused_in_one_line_that_names_the_key(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        Scenario.from_toml(text)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("sead = 7")

    with pytest.raises(ValueError, match=r"plan\.toml: unknown key 'sead'"):
        Scenario.load(path)


def test_a_file_in_another_encoding_is_refused_in_plain_words_and_one_with_a_mark_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes("# für die Nacht\nseed = 7\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^.*plan\.toml: not UTF-8: save it as UTF-8$"):
        Scenario.load(path)

    path.write_text("seed = 7", encoding="utf-8-sig")
    assert Scenario.load(path).seed == 7


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="no scenario named 'storm'; there are appserver, calm"):
        Scenario.named("storm")


@pytest.mark.parametrize(
    ("kind", "stores"), [("truncated", True), ("odd_body", True), ("reset", False), ("status", False)]
)
def test_a_kind_suggests_whether_the_work_is_done_and_the_scenario_decides(kind: str, stores: bool) -> None:
    suggested = Scenario.from_toml(f"[[faults]]\nkind = '{kind}'").faults[0]
    decided = Scenario.from_toml(
        f"[[faults]]\nkind = '{kind}'\nafter_store = {str(not stores).lower()}"
    ).faults[0]

    assert (suggested.stores, decided.stores) == (stores, not stores)
