"""Other sites, host names, tokens and rates: who is answered."""

import re
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from mlcmr.search.http import app as api
from mlcmr.search.http.app import create_app
from mlcmr.search.http.middleware import RateLimiter, _host, cookie_value, is_loopback
from mlcmr.search.http.service import ServerLimits
from tests.helpers.http_api import PNG, TOKEN, served


def test_other_sites_are_kept_out(client):
    answer = client.get("/api/index", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.options("/api/search").status_code == 405
    assert client.get("/api/index", headers={"Host": "evil.example:8000"}).status_code == 421
    for site in ("cross-site", "same-site"):  # a form needs no permission to send a file here
        sent = {"Sec-Fetch-Site": site, "Origin": "http://evil.example"}
        assert client.post("/api/search", files={"file": ("a.png", PNG)}, headers=sent).status_code == 403
        assert client.get("/", headers=sent).status_code == 200  # but links may lead here
    page = client.get("/")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in client.get("/media/cat").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("origin", "sent", "status"),
    [
        ("http://evil.example", {}, 403),
        ("http://localhost.evil.example:8000", {}, 403),
        ("http://localhost:3000", {}, 403),  # a page of another server on this machine
        ("null", {}, 403),
        ("", {}, 403),
        ("http://localhost:8000", {}, 200),
        ("http://LOCALHOST:8000", {}, 200),
        ("http://localhost", {"Host": "localhost:80"}, 200),
        ("https://localhost", {"Host": "localhost:443"}, 200),
        ("https://localhost", {"Host": "localhost"}, 200),
        ("http://[::1]:8000", {"Host": "[::1]:8000"}, 200),
        ("http://localhost:8080", {"Host": "localhost"}, 403),  # another server on this machine
        ("http://:80", {}, 403),
        # A web server in front that changes `Host`, or leaves out the port.
        ("http://localhost:8080", {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, 200),
        ("http://[::1]:8080", {"Host": "[::1]", "X-Forwarded-Proto": "http"}, 200),
        ("http://evil.example:8080", {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, 403),
        ("http://films.example:8080", {"X-Forwarded-Host": "films.example"}, 200),
        ("https://films.example", {}, 403),
        ("https://films.example", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("https://films.example", {"X-Forwarded-Host": "films.example"}, 200),
        ("https://films.example", {"X-Forwarded-Host": "films.example, inner.example"}, 200),
        ("https://films.example", {"X-Forwarded-Host": "other.example"}, 403),
    ],
)
def test_uploads_of_other_origins_are_refused(client, origin, sent, status):
    headers = {"Host": "localhost:8000", "Origin": origin} | sent
    files = {"file": ("a.png", PNG)}
    answer = client.post("/api/search", files=files, headers=headers)
    assert answer.status_code == status
    assert status == 200 or "must pass on `Host`" in answer.text
    assert client.post("/api/session", headers=headers).status_code == (204 if status == 200 else status)
    del headers["Origin"]  # as programs
    assert client.post("/api/search", files=files, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost.", "localhost:", "127.0.0.1", "127.9.9.9:80", "[::1]",
     "[::1]:8000", "[::ffff:127.0.0.1]:1"],
)  # fmt: skip
def test_without_a_token_a_loopback_name_is_answered(client, host):
    assert client.get("/api/index", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "[::1].evil.example", "[::1]evil.example", "[::1", "::1",
        "127.0.0.1.evil.example", "127.0.0.1.", "localhost.evil.example", "localhost..",
        "localhost@evil.example", "evil.example@localhost", "localhost:evil.example",
        "localhost:80:80", "localhost:80@evil.example", "localhost/evil.example",
        "localhost evil.example", "localhost,evil.example", "[::1%25lo]", "[::ffff:192.0.2.1]", "0.0.0.0",
        "[::]", "2130706433", "0x7f.1", "ｌocalhost", "locaſhost", "xn--localhost-", "[localhost]",
        "[127.0.0.1", ".localhost", "localhost:８０",
    ],
)  # fmt: skip
def test_without_a_token_no_other_name_is_answered(client, host):
    sent = {"Host": host.encode()}
    assert client.get("/api/index", headers=sent).status_code == 421
    assert client.get("/", headers=sent).status_code == 421


@given(
    st.sampled_from(["localhost", "127.0.0.1", "[::1]"]),
    st.text(st.sampled_from("abz09.:@[]/% -\t"), min_size=1, max_size=9),
    st.booleans(),
)
def test_nothing_but_a_port_may_stand_beside_a_loopback_name(name, other, before):
    assume(before or not re.fullmatch(r"(\.|)(:[0-9]{0,5})?|[0-9]+(:[0-9]*)?", other))
    assert not is_loopback(_host(other + name if before else name + other))


# ─── token ───────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_token_nothing_is_answered(searcher):
    with served(searcher, token=TOKEN) as client:
        shown = [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Cookie": "mlcmr=wrong"},
            {"Cookie": f"mlcmr={TOKEN}"},
            {"Cookie": ";=é"},
        ]
        for path in ("/api/search?q=a", "/api/index", "/media/cat", "/thumbnails/cat/0", "/metrics",
                     "/api/openapi.json", "/nothing"):  # fmt: skip
            for headers in shown:
                encoded = {name: value.encode("latin-1") for name, value in headers.items()}
                assert client.get(path, headers=encoded).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/").status_code == 200
        assert client.get(
            "/api/index", headers={"Authorization": f"bearer {TOKEN}", "Host": "films.example"}
        ).is_success


@pytest.mark.parametrize("way", ["header", "address"])
def test_a_browser_gets_a_cookie_for_the_token(searcher, way):
    with served(searcher, token=TOKEN) as client:
        if way == "header":
            answer = client.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
        else:
            answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
            assert answer.headers["Location"] == "./"
        cookie = answer.headers["Set-Cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/api/index").status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_goes_over_tls_only_where_there_is_some(searcher, scheme):
    app = create_app(searcher, token=TOKEN)
    with TestClient(app, base_url=f"{scheme}://films.example") as client:
        answer = client.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
    assert ("; Secure" in answer.headers["Set-Cookie"]) == (scheme == "https")


@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_only_the_token_goes_from_the_address(searcher, token):
    query = [("q", "猫 & \r\nx: y"), ("token", token), ("video", "dir/vid1"), ("video", "//evil.example")]
    with served(searcher, token=TOKEN) as client:
        answer = client.get("/", params=query, follow_redirects=False)
    place = urlsplit(answer.headers["Location"])
    assert (answer.status_code, place.scheme, place.netloc, place.path) == (303, "", "", "./")
    assert parse_qsl(place.query) == [one for one in query if one[0] != "token"]


def test_a_wrong_token_gets_no_cookie(searcher):
    with served(searcher, token=TOKEN) as client:
        assert "Set-Cookie" not in client.get("/", params={"token": "wrong"}, follow_redirects=False).headers
        assert client.post("/api/session", headers={"Authorization": "Bearer wrong"}).status_code == 401


# ─── limits ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that rates go by, which stands still: a busy machine would let more requests through."""
    now = [0.0]
    monkeypatch.setattr(api, "RateLimiter", lambda per_second: RateLimiter(per_second, lambda: now[0]))
    return now


def test_a_client_that_asks_too_often_waits(searcher, clock):
    with served(searcher, limits={"rate": 1.0}) as client:
        answers = [client.get("/api/search?q=a") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 5
        assert answers[-1].headers["Retry-After"] == "1"
        assert "try again" in answers[-1].json()["error"]
        assert client.get("/health").status_code == 200
        assert client.get("/media/cat").status_code == 200


GUESSES = {
    "the page": ("/?token={}", {}),
    "the API": ("/api/index", {"Authorization": "Bearer {}"}),
    "a file": ("/media/cat", {"Authorization": "Bearer {}"}),
    "metrics": ("/metrics", {"Authorization": "bearer {}"}),
    "a path that is not there": ("/nothing", {"Authorization": "Bearer {}"}),
}


@pytest.mark.parametrize("way", GUESSES)
def test_who_guesses_tokens_waits(searcher, clock, way):
    path, headers = GUESSES[way]

    def guess(client, token):
        filled = {name: text.format(token) for name, text in headers.items()}
        return client.get(path.format(token), headers=filled, follow_redirects=False).status_code

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=1.0))
    with (
        TestClient(app, client=("192.0.2.1", 1)) as client,
        TestClient(app, client=("192.0.2.2", 1)) as other,
    ):
        assert [guess(client, f"guess-{n}") for n in range(8)] == [303 if way == "the page" else 401] * 3 + [
            429
        ] * 5
        assert guess(client, TOKEN) == 429  # else it would be found all the same
        assert client.get("/health").status_code == client.get("/").status_code == 200
        assert client.get("/media/cat", headers={"Cookie": f"mlcmr={cookie_value(TOKEN)}"}).status_code == 200
        assert guess(other, TOKEN) in (200, 303, 404)
        clock[0] += 1.05
        assert guess(client, TOKEN) in (200, 303, 404)


@pytest.mark.parametrize("path", ["/metrics", "/api/index", "/media/cat", "/thumbnails/cat/0", "/nothing"])
def test_who_guesses_cookies_waits_and_nobody_else(searcher, clock, path):
    def ask(client, **headers):
        return client.get(path, headers=headers).status_code

    app = create_app(searcher, token=TOKEN, limits=ServerLimits(rate=1.0))
    with (
        TestClient(app, client=("192.0.2.1", 1)) as client,
        TestClient(app, client=("192.0.2.2", 1)) as other,
    ):
        guesses = [ask(client, Cookie=f"a=b; mlcmr={n}") for n in range(300)]
        assert guesses[:3] == [401] * 3
        assert set(guesses[3:]) == {429}
        # Clients of the same address with the right cookie or token are still served.
        assert ask(client, Cookie=f"mlcmr={cookie_value(TOKEN)}") in (200, 404)
        assert ask(client, Authorization=f"Bearer {TOKEN}") in (200, 404)
        assert ask(client, Authorization=f"Bearer {TOKEN}", Cookie="mlcmr=of-another-server") in (200, 404)
        assert ask(other, Cookie="mlcmr=1") == 401


def test_a_cookie_is_slow_to_compute_from_a_guess():
    start = time.perf_counter()
    assert cookie_value("a token nobody has") != cookie_value("a token nobody had")
    assert time.perf_counter() - start > 0.02


def test_who_shows_the_token_or_nothing_is_no_guesser(searcher, clock):
    shown = {"Authorization": f"Bearer {TOKEN}"}
    with served(searcher, token=TOKEN, limits={"rate": 1.0}) as client:
        assert {client.get("/media/cat").status_code for _ in range(8)} == {401}
        assert {client.get("/media/cat", headers=shown).status_code for _ in range(8)} == {200}
        # Cookies go to all servers of a host; and what another site loads by itself is nobody's guess.
        foreign = {"Cookie": "mlcmr=of-another-server"}
        assert {client.get("/media/cat", headers=foreign).status_code for _ in range(8)} == {401, 429}
        for mode, destination in (("no-cors", "image"), ("navigate", "iframe")):
            loaded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
            assert {client.get("/?token=x", headers=loaded).status_code for _ in range(8)} == {403}
        assert client.get("/media/cat", headers=shown).status_code == 200


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("somebody", "else", False),
    ],
)
def test_who_is_one_client(searcher, address, other, same):
    app = create_app(searcher, limits=ServerLimits(rate=0.001))
    statuses = [
        TestClient(app, base_url="http://localhost", client=(one, 1)).get("/api/openapi.json").status_code
        for one in (address, other)
    ]
    assert statuses == [200, 429 if same else 200]


def test_a_bucket_fills_again():
    now = 0.0
    rate = RateLimiter(2.0, lambda: now)
    assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]
    assert rate.wait("b") == 0
    now = 0.5
    assert [rate.wait("a"), rate.wait("a")] == [0, 1]
    now = 1000.0
    assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]
