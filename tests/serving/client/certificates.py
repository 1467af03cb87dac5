"""Certificates for tests, made where they are needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc


def make_certificates(folder: Path) -> None:
    """Writes self-signed certificates and keys: localhost.pem and .key, client.pem and .key."""
    for name in ("localhost", "client"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            + ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
            + ["-addext", f"subjectAltName=DNS:{name}"]
            + ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")],
            check=True,
            capture_output=True,
        )


def server_credentials(folder: Path) -> grpc.ServerCredentials:
    """Those of a server that shows localhost.pem and asks for client.pem."""
    return grpc.ssl_server_credentials(
        [((folder / "localhost.key").read_bytes(), (folder / "localhost.pem").read_bytes())],
        root_certificates=(folder / "client.pem").read_bytes(),
        require_client_auth=True,
    )
