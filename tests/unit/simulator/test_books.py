from worker.simulator.books import Books, Visit
from worker.simulator.routes import Route


def post(books: Books, opportunity: int, contact: int, at: float, status: int = 201) -> None:
    route = Route("link", "POST", opportunity, contact)
    books.arrived(route, at)
    books.answered(route, at, status)


def test_a_window_holds_what_arrives_before_its_end() -> None:
    books = Books()
    for at in (0.0, 0.25, 0.5, 1.0, 1.25, 3.0):
        post(books, 1, 1, at)

    assert books.most_in_window(1.0) == 3  # 1.0 is outside [0, 1)
    assert books.most_in_window(1.25) == 4
    assert books.most_in_window(0.25) == 1
    assert Books().most_in_window(1.0) == 0


def test_repeats_count_posts_beyond_the_first_of_a_pair() -> None:
    books = Books()
    for contact in (5, 5, 6, 5):
        post(books, 1, contact, 0.0)

    assert (books.posts, books.repeats, books.repeated()) == (4, 2, [(1, 5, 3)])
    assert (books.posts_of(1, 5), books.posts_of(1, 7)) == (3, 0)


def test_writing_a_link_again_changes_nothing() -> None:
    books = Books([(1, 2)])
    books.link(1, 2)
    books.link(1, 3)

    assert (books.links(), books.stored, books.created) == ([(1, 2), (1, 3)], 2, 1)


def test_removing_takes_exactly_one_link_and_may_find_none() -> None:
    books = Books([(1, 2), (1, 3)])
    books.unlink(1, 2)
    books.unlink(4, 2)

    assert (books.links(), books.removed, books.opportunities_of(3)) == ([(1, 3)], 1, {1})


def test_the_most_requests_in_flight_are_remembered() -> None:
    books = Books()
    route = Route("contact", "GET", 0, 7)
    for _ in range(3):
        books.arrived(route, 1.0)
    books.answered(route, 1.0, 200)
    books.arrived(route, 2.0)

    assert (books.in_flight, books.max_in_flight, books.posts) == (3, 3, 0)


def test_a_reset_brings_back_the_links_of_the_start() -> None:
    books = Books([(1, 2)])
    post(books, 1, 3, 0.0)
    books.link(1, 3)
    books.unlink(1, 2)
    books.reset()

    assert (books.links(), books.requests, len(books.arrivals)) == ([(1, 2)], 0, 0)


def test_without_detail_only_totals_and_links_are_kept() -> None:
    books = Books(detail=False)
    post(books, 1, 2, 0.0)
    post(books, 1, 2, 1.0)

    assert (books.posts, len(books.arrivals), books.repeated(), list(books.visits)) == (2, 0, [], [])


def test_the_summary_sums_up() -> None:
    books = Books([(1, 2)])
    post(books, 1, 3, 5.0)
    post(books, 1, 3, 6.5, status=0)

    assert books.summary() == {
        "links": 1,
        "requests": 2,
        "batches": 0,
        "items": 0,
        "posts": 2,
        "repeats": 1,
        "stored": 0,
        "created": 0,
        "removed": 0,
        "edits": 0,
        "by_status": {"0": 1, "201": 1},
        "max_in_flight": 1,
        "first_arrival": 5.0,
        "last_arrival": 6.5,
    }
    assert books.since_first() == [0.0, 1.5]
    assert books.visits[1] == Visit(6.5, "POST", "link", 1, 3, 0)
