from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import pytest
import requests

from configs.loading import ConfigurationError
from serving.options import ServerOptions
from serving.protocol.messages import prediction_service_pb2_grpc
from serving.server import LocalServer
from serving.server.rest_port import TlsSettings, read_tls_settings
from tests.serving.server.certificates import make_certificates, ssl_config
from tests.serving.server.numbered_model import add_request, answer_of, put_numbered_model

AUTHORITY, SERVER, CLIENT = make_certificates()
SECONDS = 20


def read(tmp_path: Path, **values: str | bool) -> TlsSettings:
    path = tmp_path / "ssl.config"
    path.write_text(ssl_config(**values))
    return read_tls_settings(path)


def good(**values: str | bool) -> dict[str, str | bool]:
    return {"server_key": SERVER.key, "server_cert": SERVER.certificate, **values}


def served_over_tls(tmp_path: Path, settings: TlsSettings) -> LocalServer:
    put_numbered_model(tmp_path / "base", 2)
    options = ServerOptions(grace_seconds=1)
    return LocalServer({"numbered": tmp_path / "base"}, options=options, tls=settings)


def predict(port: int, credentials: grpc.ChannelCredentials) -> list[float]:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return answer_of(stub.Predict(add_request([1.0]), SECONDS))


def test_both_ports_show_the_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text(AUTHORITY.certificate)
    with served_over_tls(tmp_path, read(tmp_path, **good())) as server:
        trusting = grpc.ssl_channel_credentials(AUTHORITY.certificate.encode())
        assert predict(server.grpc_port, trusting) == [3.0]
        url = f"https://127.0.0.1:{server.rest_port}/v1/models/numbered"
        assert requests.get(url, verify=str(authority), timeout=SECONDS).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=SECONDS)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=SECONDS)
        with pytest.raises(grpc.RpcError):
            predict(server.grpc_port, grpc.ssl_channel_credentials(CLIENT.certificate.encode()))


def test_clients_must_show_a_certificate_where_that_is_asked(tmp_path: Path) -> None:
    settings = read(tmp_path, **good(custom_ca=AUTHORITY.certificate, client_verify=True))
    files = {"ca": AUTHORITY.certificate, "cert": CLIENT.certificate, "key": CLIENT.key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with served_over_tls(tmp_path, settings) as server:
        known = grpc.ssl_channel_credentials(
            AUTHORITY.certificate.encode(), CLIENT.key.encode(), CLIENT.certificate.encode()
        )
        assert predict(server.grpc_port, known) == [3.0]
        unknown = grpc.ssl_channel_credentials(AUTHORITY.certificate.encode())
        with pytest.raises(grpc.RpcError):
            predict(server.grpc_port, unknown)
        url = f"https://127.0.0.1:{server.rest_port}/v1/models/numbered"
        shown = (str(tmp_path / "cert"), str(tmp_path / "key"))
        known_answer = requests.get(url, verify=str(tmp_path / "ca"), cert=shown, timeout=SECONDS)
        assert known_answer.status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, verify=str(tmp_path / "ca"), timeout=SECONDS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"server_key": ""}, "server_key is missing"),
        ({"server_cert": ""}, "server_cert is missing"),
        ({"client_verify": True}, "client_verify needs custom_ca"),
        ({"server_key": CLIENT.key}, "must be PEM texts"),
        ({"server_key": "SECRET"}, "must be PEM texts"),
        ({"server_cert": "café"}, "must be PEM texts"),
        ({"custom_ca": "nothing"}, "must be PEM texts"),
    ],
)
def test_wrong_files_are_refused_without_quoting_them(
    tmp_path: Path, values: dict[str, str | bool], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"ssl.config: .*{reason}") as caught:
        read(tmp_path, **good(**values))
    assert "SECRET" not in str(caught.value)
    assert SERVER.key.splitlines()[1] not in str(caught.value)


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(SERVER.key.encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    ).decode()
    with pytest.raises(ConfigurationError, match="without a password"):
        read(tmp_path, **good(server_key=locked))


def test_the_key_is_not_in_the_settings_text_and_no_old_protocol_is_spoken() -> None:
    settings = TlsSettings(SERVER.key, SERVER.certificate)
    assert SERVER.key.splitlines()[1] not in repr(settings)
    assert settings.context().minimum_version >= ssl.TLSVersion.TLSv1_2
