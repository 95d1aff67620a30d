from worker.simulator import Holdings
from worker.simulator.people import People

PEOPLE = People(Holdings(contacts=5000))
EVERYBODY = range(1, 400)


def test_a_person_has_its_members_in_the_order_of_the_contract() -> None:
    person = PEOPLE.single(1234)

    assert (person["firstName"], person["lastName"], person["displayName"]) == (
        "Contact",
        "1234",
        "Contact 1234",
    )
    assert person["commonData"][1]["data"] == "contact1234@portal.example"
    assert list(person) == [
        "firstName", "lastName", "company", "title", "addresses", "createBy", "created", "about", "industry",
        "commonData", "customFields", "taskCount", "haveLateTasks", "smallFotoUrl", "mediumFotoUrl",
        "displayName", "isCompany", "isPrivate", "isShared", "shareType", "currency", "canEdit", "canDelete",
        "id",
    ]  # fmt: skip


def test_a_company_has_a_name_and_perhaps_a_head_count() -> None:
    counts = {PEOPLE.single(one).get("personsCount") for one in EVERYBODY if PEOPLE.is_company(one)}

    assert PEOPLE.single(55)["companyName"] == PEOPLE.single(55)["displayName"] == "Company 55"
    assert counts == {None, 1, 2, 3}


def test_a_single_contact_always_has_addresses_and_never_tags() -> None:
    assert all("addresses" in PEOPLE.single(one) and "tags" not in PEOPLE.single(one) for one in EVERYBODY)
    assert [] in [PEOPLE.single(one)["addresses"] for one in EVERYBODY]


def test_a_listed_contact_has_addresses_and_tags_only_if_there_are_any() -> None:
    listed = [PEOPLE.listed(one) for one in EVERYBODY]

    assert {"addresses" in one for one in listed} == {"tags" in one for one in listed} == {True, False}
    assert all(one.get("addresses") != [] and one.get("tags") != [] for one in listed)
    assert all(one["tags"] == sorted(one["tags"]) for one in listed if "tags" in one)


def test_members_that_hold_null_zero_or_false_drop_out() -> None:
    everybody = [PEOPLE.single(one) for one in EVERYBODY]
    addresses = [address for one in everybody for address in one["addresses"]]

    assert (
        {"contactStatus" in one for one in everybody}
        == {"taskCount" in one for one in everybody}
        == {True, False}
    )
    assert all(one.get("taskCount") != 0 for one in everybody)
    assert (
        {"category" in one for one in addresses} == {"isPrimary" in one for one in addresses} == {True, False}
    )
    assert {one["currency"] is None for one in everybody} == {True, False}
    assert not {"persons", "contactType"} & {key for one in everybody for key in one}


def test_only_private_contacts_show_who_has_access() -> None:
    for one in map(PEOPLE.single, EVERYBODY):
        assert ("accessList" in one) is one["isPrivate"] is (one["shareType"] == 0) is (not one["isShared"])


def test_the_primary_contact_of_a_list_cannot_be_edited() -> None:
    assert PEOPLE.listed(7, primary=True) == {**PEOPLE.listed(7), "canEdit": False}


def test_a_person_without_a_last_name_has_a_display_name_that_ends_in_a_space() -> None:
    assert PEOPLE.single(97)["displayName"] == "Contact 97 "


def test_dates_carry_seven_zeros_and_an_offset() -> None:
    assert PEOPLE.single(1)["created"] == "2023-02-02T01:01:00.0000000+02:00"
