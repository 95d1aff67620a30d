import pytest

from worker.simulator import routes

LINK = "/api/2.0/crm/opportunity/12/contact/34"


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        (LINK, LINK),
        ("//api/2.0///crm/contact/7", "/api/2.0/crm/contact/7"),
        (LINK + "/", None),
        (LINK + ".xml//", None),
        ("/", None),
    ],
)
def test_nginx_merges_slashes_and_passes_on_no_path_that_ends_in_one(path: str, passed: str | None) -> None:
    """Contract 10.1; an item of a batch does not pass it."""
    assert routes.at_the_front(path) == passed


@pytest.mark.parametrize(
    ("path", "extension"),
    [
        (LINK, ""),
        (LINK + "/", ""),
        (LINK + ".json", ".json"),
        (LINK + ".xml", ".xml"),
        (LINK + ".xml/", ".xml"),
        (LINK + ".tml", ".tml"),
        ("/API/2.0/CRM/Opportunity/12/Contact/34", ""),
        ("/api/2.0/crm/opportunity/012/contact/0034", ""),
    ],
)
def test_paths_that_aspnet_routes_are_routed(path: str, extension: str) -> None:
    assert routes.find("post", path) == routes.Route("link", "POST", 12, 34, extension)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", LINK + ".XML"),
        ("POST", LINK + ".foo"),
        ("POST", LINK + "a"),
        ("POST", "/api/2.0/crm/opportunity/12/contact/-1"),
        ("POST", "/api/2.0/crm/opportunity/12/contact/+1"),
        ("POST", "/api/2.0/crm/opportunity/12/contact/٣"),
        ("POST", "/api/2.0//crm/opportunity/12/contact/34"),
        ("POST", "/api/2.0/crm/opportunity//contact/34"),
        ("GET", "/api/2.0/crm/opportunity/12/contact.JSON"),
        ("GET", LINK),
        ("PUT", LINK),
        ("HEAD", LINK),
        ("OPTIONS", "/elsewhere"),
    ],
)
def test_paths_that_aspnet_does_not_route_are_not(method: str, path: str) -> None:
    assert routes.find(method, path).kind == "none"


def test_ids_too_large_for_the_api_are_routed_all_the_same() -> None:
    """Contract 1.3: the range is checked later, so the answer is a 400 in JSON and no page."""
    route = routes.find("POST", f"/api/2.0/crm/opportunity/2147483648/contact/{'9' * 5000}")

    assert (route.kind, route.opportunity, route.contact) == ("link", routes.TOO_LARGE, routes.TOO_LARGE)
    assert routes.find("GET", "/api/2.0/crm/contact/2147483647").contact == routes.INT32


def test_a_filter_is_no_opportunity() -> None:
    assert routes.find("GET", "/api/2.0/crm/opportunity/filter.json").kind == "opportunities"


@pytest.mark.parametrize(
    ("path", "content_type", "xml"),
    [
        (LINK, "text/xml", False),
        (LINK + ".xml", "", True),
        (LINK + ".tml", "text/plain", True),
        (LINK + ".xml", "application/json; charset=utf-8", False),
        (LINK + ".json", "", False),
    ],
)
def test_the_extension_chooses_xml_unless_the_request_claims_json(
    path: str, content_type: str, xml: bool
) -> None:
    assert routes.find("POST", path).is_xml(content_type) is xml
