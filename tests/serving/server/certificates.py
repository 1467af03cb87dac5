"""Certificates for tests: an authority, a server at 127.0.0.1 and a client."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from pathlib import Path

import grpc
import pytest

x509 = pytest.importorskip("cryptography.x509", reason="needs the package cryptography")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Certificate:
    """PEM texts."""

    key: str
    certificate: str


def make_certificates() -> tuple[Certificate, Certificate, Certificate]:
    """An authority, and a server's and a client's certificate that it has signed."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key, "authority", authority_key)
    leaves = []
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        leaves.append(_pem(key, _certificate(name, key, "authority", authority_key)))
    return _pem(authority_key, authority), leaves[0], leaves[1]


def write_certificates(folder: Path) -> None:
    """Writes authority.pem, server.pem, server.key, client.pem and client.key."""
    names = ("authority", "server", "client")
    for name, made in zip(names, make_certificates(), strict=True):
        (folder / f"{name}.pem").write_text(made.certificate)
        (folder / f"{name}.key").write_text(made.key)


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Those of a server that shows server.pem and asks for a certificate of the authority."""
    return grpc.ssl_server_credentials(
        [((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())],
        root_certificates=(folder / "authority.pem").read_bytes(),
        require_client_auth=True,
    )


def ssl_config(**values: str | bool) -> str:
    """A file with TensorFlow Serving's SSLConfig."""
    lines = []
    for name, value in values.items():
        if isinstance(value, bool):
            lines.append(f"{name}: {str(value).lower()}")
        else:
            lines += [f'{name}: ""', *(f'  "{line}\\n"' for line in value.splitlines())]
    return "\n".join(lines) + "\n"


def _certificate(name, key, issuer, issuer_key):  # type: ignore[no-untyped-def]
    now = datetime.datetime.now(datetime.UTC)
    is_authority = name == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(
            x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str):  # type: ignore[no-untyped-def]
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)])


def _pem(key, certificate) -> Certificate:  # type: ignore[no-untyped-def]
    return Certificate(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )
