"""Who may come in: keys, hosts, ports, settings, what the page may do."""

import socket
from typing import Any

import httpx
import openai
import pytest

from midfill.config.server import ServerConfig
from midfill.errors import ConfigError, ResourceError
from midfill.server.run import listen
from running_server import CHAT, COMPLETION, Running


def test_keys_are_asked_for(tiny_coder: Any):
    with Running(tiny_coder, api_keys=("alpha", "beta")) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic alpha"}):
            answer = server.post(COMPLETION, {"prompt": "x"}, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        for headers in ({"Authorization": "Bearer beta"}, {"api-key": "alpha"}):
            answer = server.post(COMPLETION, {"prompt": "x"}, headers=headers)
            assert answer.status_code == 200
        assert httpx.get(server.url + "/health").status_code == 200
        assert httpx.get(server.url + "/").status_code == 200
        with pytest.raises(openai.AuthenticationError), server.client() as client:
            client.models.list()


def test_a_page_under_another_name_is_turned_away(server: Running):
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:80", 200)):
        assert httpx.get(server.url + "/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(("header", "status"), [("", 200), ("Host: evil.example\r\n", 403)])
def test_a_client_without_host_is_no_browser(server: Running, header: str, status: int):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(f"GET /health HTTP/1.0\r\n{header}\r\n".encode())
        line = sock.makefile("rb").readline()
    assert line.split()[1] == str(status).encode()


def test_port_in_use_names_another(server: Running):
    with pytest.raises(ResourceError, match=f"port {server.port} is in use") as error:
        listen(ServerConfig(port=server.port))
    assert "--port" in error.value.fix
    assert str(server.port) not in error.value.fix


def test_strangers_need_a_key():
    with pytest.raises(ConfigError, match="no API key"):
        listen(ServerConfig(host="0.0.0.0", port=0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", value) for value in (-1, 65536, "80", True)),
        *(("max_batch", value) for value in (0, -1, 1.5)),
        ("max_queue", -1),
        ("max_body", 0),
        *(("api_keys", value) for value in ("abc", ("",), ("a b",), (" a",), ("é",))),
    ],
)
def test_bad_settings_are_named(name: str, value: Any):
    with pytest.raises(ConfigError) as error:
        ServerConfig(**{name: value})
    assert ("API key" if name == "api_keys" else name) in error.value.what
    assert error.value.why
    assert error.value.fix


def test_page_may_run_only_its_own_script(server: Running):
    answer = httpx.get(server.url + "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert len(answer.content) < 60_000
    assert "innerHTML" not in answer.text
    assert "http://" not in answer.text.replace("http://www.w3", "")


def test_openapi_describes_the_routes(server: Running):
    described = httpx.get(server.url + "/openapi.json").json()
    assert {COMPLETION, CHAT, "/v1/models", "/health"} <= set(described["paths"])
