"""What a person sees of a site over HTTPS, in Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.certificates import Authority
    from tests.load.served import Served

MANY = """async count => {
    const answers = await Promise.all(Array.from({length: count}, async (_, number) => {
        const response = await fetch(`/number/${number}`);
        return {status: response.status, ...await response.json()};
    }));
    return answers.map(a => [a.status, a.number, a.secure, a.padding.length]);
}"""
EVENTS = """() => new Promise((resolve, reject) => {
    const seen = [];
    const source = new EventSource('/events');
    source.onmessage = event => {
        seen.push([event.lastEventId, event.data]);
        if (seen.length === 5) { source.close(); resolve(seen); }
    };
    source.onerror = () => reject(new Error(`ended after ${seen.length}`));
})"""
SOCKET = """address => new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    const seen = [];
    socket.onopen = () => { socket.send('one'); socket.send('two'); };
    socket.onmessage = event => { seen.push(event.data); if (seen.length === 2) resolve(seen); };
    socket.onerror = () => reject(new Error('no socket'));
})"""
# Ask until told to stop, with a breath after each answer: the server needs the processors, too. What failed, and how
# many answers there were.
STEADY = """() => {
    window.stopped = false; window.failed = []; window.answered = 0;
    const ask = async number => {
        while (!window.stopped) {
            try {
                const response = await fetch(`/number/${number}`, {cache: 'no-store'});
                await response.json();
                if (response.status !== 200) window.failed.push(response.status);
                window.answered += 1;
            } catch (error) { window.failed.push(String(error)); }
            await new Promise(go_on => setTimeout(go_on, 10));
        }
    };
    window.all = Promise.all([1, 2, 3, 4].map(ask));
}"""


def test_a_page_is_whole_secure_and_styled(page: Page) -> None:
    assert page.title() == "Home"
    assert page.inner_text("#scheme") == "https"
    assert page.evaluate("getComputedStyle(document.getElementById('title')).color") == "rgb(1, 2, 3)"
    assert page.evaluate("document.images[0].complete && document.images[0].naturalWidth") == 1
    assert page.evaluate("isSecureContext")


def test_a_form_with_a_file_is_sent_and_its_redirect_followed(page: Page) -> None:
    page.fill("#name", "Grace Hopper")
    page.set_input_files("#file", {"name": "a.bin", "mimeType": "application/octet-stream", "buffer": b"x" * 3_000_000})
    page.click("#send")
    page.wait_for_url("**/done")
    assert page.inner_text("#name") == "Grace Hopper"
    assert page.inner_text("#size") == "3000000"


def test_the_admin_lets_its_user_in(page: Page) -> None:
    page.goto("/admin/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", "lovelace")
    page.click("[type=submit]")
    page.wait_for_selector("#user-tools")
    assert "ada" in page.inner_text("#user-tools").lower()
    page.goto("/admin/auth/user/")
    assert page.inner_text(".paginator").strip() == "1 user"


def test_a_hundred_requests_at_once_are_answered(page: Page) -> None:
    answers = page.evaluate(MANY, 100)
    assert answers == [[200, number, True, number * 100] for number in range(100)]


def test_server_sent_events_arrive(page: Page) -> None:
    assert page.evaluate(EVENTS) == [[str(number), f"event {number}"] for number in range(5)]


def test_a_websocket_is_tunnelled(page: Page, served: Served, protocol: str) -> None:
    before = connections(served)
    assert page.evaluate(SOCKET, f"wss://localhost:{served.port}/ws") == ["wss one", "wss two"]
    more = connections(served) - before
    assert len(more) == (0 if protocol == "h2" else 1)  # over HTTP/2 it is one stream more (RFC 8441)


def connections(served: Served) -> set[object]:
    """The clients' ends of what is open to the server."""
    found = psutil.net_connections("tcp4")
    port = served.port
    return {one.raddr for one in found if one.laddr and one.laddr[1] == port and one.status == "ESTABLISHED"}


def test_a_certificate_is_changed_and_no_request_fails(page: Page, authority: Authority, served: Served) -> None:
    page.evaluate(STEADY)
    for _ in range(2):
        before = served.certificate()
        authority.issue("localhost", "127.0.0.1")  # into the same files
        served.wait_until(lambda: served.certificate() != before, "served with the new certificate")  # noqa: B023
        seen = page.evaluate("window.answered")
        page.wait_for_function("seen => window.answered > seen + 20", arg=seen)
    page.evaluate("window.stopped = true")
    failed, answered = page.evaluate("async () => { await window.all; return [window.failed, window.answered]; }")
    assert failed == []
    assert answered > 40
