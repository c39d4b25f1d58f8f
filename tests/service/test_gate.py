"""Who gets in: tokens, hosts, rates, numbers."""

from __future__ import annotations

import asyncio

import pytest
from starlette.testclient import TestClient

from sonobalance import cli
from sonobalance.config import ServiceSettings
from sonobalance.errors import InputError, SettingsError
from sonobalance.service.access import VARIABLE, Access, access_of, is_loopback
from sonobalance.service.gate import Buckets, Gate
from sonobalance.service.metrics import Metrics

TOKEN = "correct-horse-battery-staple"  # noqa: S105


async def answering(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def gate(access=None, **settings):
    return Gate(answering, ServiceSettings(**settings), access or Access(None), Metrics())


def client_of(made, base_url="http://127.0.0.1"):
    return TestClient(made, base_url=base_url)


def with_token(monkeypatch, **settings):
    monkeypatch.setenv(VARIABLE, TOKEN)
    return access_of(ServiceSettings(**settings))


def test_other_addresses_need_a_token_or_insecure_spelled_out(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    for host in ("0.0.0.0", "192.168.0.7", "::", "example.org"):  # noqa: S104
        with pytest.raises(SettingsError, match="--insecure"):
            access_of(ServiceSettings(host=host))
        assert access_of(ServiceSettings(host=host, insecure=True)).digest is None
        assert with_token(monkeypatch, host=host).digest is not None
        monkeypatch.delenv(VARIABLE)
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host)
        assert access_of(ServiceSettings(host=host)).digest is None


def test_the_token_comes_from_a_file_or_the_environment(monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert access_of(ServiceSettings(token_file=file)).allows(f"Bearer {TOKEN}")
    monkeypatch.setenv(VARIABLE, f"{TOKEN}\n")
    assert access_of(ServiceSettings()).allows(f"Bearer {TOKEN}")
    file.write_text("short")
    with pytest.raises(InputError, match="16 characters"):
        access_of(ServiceSettings(token_file=file))
    with pytest.raises(InputError, match="cannot be read"):
        access_of(ServiceSettings(token_file=tmp_path / "none"))


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
     f"Bearer {TOKEN.upper()}", "Bearer \xff\xfe", f"Bearer x {TOKEN}", "Bearer None"],
)  # fmt: skip
def test_wrong_tokens_never_pass(monkeypatch, given):
    made = gate(with_token(monkeypatch, host="0.0.0.0"), host="0.0.0.0")  # noqa: S104
    client = client_of(made)
    for path in ("/predict", "/explain", "/model", "/metrics", "/openapi.json", "/sample", "/x"):
        found = client.post(path, headers={"authorization": given.encode("latin-1")})
        assert found.status_code == 401
        assert found.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/health", "/ready", "/static/app.js"):
        assert client.get(path).status_code == 200


def test_the_right_token_passes(monkeypatch):
    made = gate(with_token(monkeypatch, host="0.0.0.0"), host="0.0.0.0")  # noqa: S104
    for scheme in ("Bearer", "bearer"):
        found = client_of(made).get("/model", headers={"authorization": f"{scheme} {TOKEN}"})
        assert found.text == "in"


def test_the_comparison_is_the_constant_time_one(monkeypatch):
    import hmac

    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    assert not with_token(monkeypatch).allows("Bearer x")
    assert [len(a) == len(b) == 32 for a, b in compared] == [True]


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_without_a_token_only_this_machines_names_are_answered(host, status):
    """A page whose name resolves to 127.0.0.1 must not read what the service says."""
    assert client_of(gate()).get("/model", headers={"host": host}).status_code == status


def test_rates():
    buckets = Buckets(60)
    assert [buckets.take("a", 0.0) == 0 for _ in range(11)] == [True] * 10 + [False]
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.0) == pytest.approx(1.0)
    assert buckets.take("a", 1.1) == 0
    assert Buckets(0).take("a", 0.0) == 0


def test_too_many_requests_of_one_client_get_429_and_a_time():
    client = client_of(gate(requests_per_minute=6))
    assert client.get("/model").status_code == 200
    found = client.get("/model")
    assert found.status_code == 429
    assert int(found.headers["retry-after"]) >= 1
    assert client.get("/health").status_code == 200


def test_too_many_requests_in_work_get_503_and_a_time():
    made = gate(max_requests=2)
    statuses, release = [], asyncio.Event()

    async def waits(scope, receive, send):
        await release.wait()
        await answering(scope, receive, send)

    made.app = waits

    async def one():
        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append((message["status"], dict(message["headers"])))

        scope = {
            "type": "http", "path": "/predict", "method": "POST", "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"127.0.0.1")],
        }  # fmt: skip
        await made(scope, None, send)

    async def main():
        jobs = [asyncio.create_task(one()) for _ in range(4)]
        await asyncio.sleep(0.05)
        release.set()
        await asyncio.gather(*jobs)

    asyncio.run(main())
    assert sorted(status for status, _ in statuses) == [200, 200, 503, 503]
    assert all(b"retry-after" in headers for status, headers in statuses if status == 503)
    assert made.working == 0


def test_the_command_refuses_before_it_loads_anything(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", str(tmp_path), "--host", "0.0.0.0"])  # noqa: S104
    assert stop.value.code == cli.BAD_INPUT
    assert "--insecure" in capsys.readouterr().err
