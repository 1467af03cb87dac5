"""The server's certificate, for gRPC and REST."""

from __future__ import annotations

import dataclasses
import ssl
import tempfile
from pathlib import Path

import grpc

from configs.loading import ConfigurationError
from serving.server.text_protos import read_text_message


@dataclasses.dataclass(frozen=True)
class TlsSettings:
    """tensorflow.serving.SSLConfig: PEM texts, not paths. The key is left out of `repr`.

    Attributes:
      server_key: private key.
      server_cert: certificate, with the chain below the authority.
      custom_ca: authority of the clients' certificates.
      client_verify: whether clients must show a certificate of that authority.
    """

    server_key: str = dataclasses.field(repr=False)
    server_cert: str
    custom_ca: str = ""
    client_verify: bool = False

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials for a gRPC port."""
        return grpc.ssl_server_credentials(
            [(self.server_key.encode(), self.server_cert.encode())],
            root_certificates=self.custom_ca.encode() or None,
            require_client_auth=self.client_verify,
        )

    def context(self) -> ssl.SSLContext:
        """A context for a REST port.

        Raises:
          ConfigurationError: the key does not fit the certificate, or a text is no PEM.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # The standard library reads keys only from files; the folder is this user's alone.
            with tempfile.TemporaryDirectory() as folder:
                key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
                key.write_text(self.server_key, encoding="ascii")
                certificate.write_text(self.server_cert, encoding="ascii")
                # An encrypted key would ask for its password on the terminal.
                context.load_cert_chain(certificate, key, password=_refuse_password)
            if self.custom_ca:
                context.load_verify_locations(cadata=self.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else "not plain PEM"
            raise ConfigurationError(
                "server_key, server_cert and custom_ca must be PEM texts, and the key that of the "
                f"certificate, without a password ({reason})"
            ) from None
        if self.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read_tls_settings(path: str | Path) -> TlsSettings:
    """Reads a file as `tensorflow_model_server --ssl_config_file` does, and checks it.

    Raises:
      ConfigurationError: the file cannot be read, or is incomplete or wrong. No message quotes it.
    """
    message = read_text_message(path, "SSLConfig")
    values = {field.name: value for field, value in message.ListFields()}
    for name in ("server_key", "server_cert"):
        if not values.get(name):
            raise ConfigurationError(f"{path}: {name} is missing: the text of a PEM file")
    if values.get("client_verify") and not values.get("custom_ca"):
        raise ConfigurationError(f"{path}: client_verify needs custom_ca, the clients' authority")
    settings = TlsSettings(**values)
    try:
        settings.context()
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return settings


def _refuse_password() -> str:
    raise ValueError("the key has a password")
