"""Certificates of an encrypted connection."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import grpc


@dataclasses.dataclass(frozen=True)
class Tls:
    """PEM files for an encrypted connection.

    Attributes:
      root_certificates: of authorities that the server's certificate is checked against; the usual
        ones if None.
      client_certificate: the client's certificate chain, where the server asks for one.
      client_key: its private key.
    """

    root_certificates: str | Path | None = None
    client_certificate: str | Path | None = None
    client_key: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key are needed together")

    def credentials(self) -> grpc.ChannelCredentials:
        """The files' contents, for a gRPC channel.

        Raises:
          OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            *(
                None if path is None else Path(path).read_bytes()
                for path in (self.root_certificates, self.client_key, self.client_certificate)
            )
        )

    def verification(self) -> str | None:
        """What `requests` checks the server's certificate against; its own choice if None."""
        return None if self.root_certificates is None else str(self.root_certificates)

    def client_files(self) -> tuple[str, str] | None:
        """Certificate and key as `requests` takes them."""
        if self.client_certificate is None:
            return None
        return str(self.client_certificate), str(self.client_key)
