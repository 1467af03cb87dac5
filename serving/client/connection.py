"""How a gRPC client connects, encrypted or not."""

from __future__ import annotations

import dataclasses
import json
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

    def with_absolute_paths(self) -> Tls:
        """The same files, named so that a process in another folder finds them."""
        paths = dataclasses.asdict(self).items()
        return Tls(**{name: path and Path(path).absolute() for name, path in paths})

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


# The retries set the pace; a channel left alone would wait up to two minutes to connect again.
_RECONNECT_MILLISECONDS = {"initial": 50, "min": 50, "max": 1000}
_ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


@dataclasses.dataclass(frozen=True)
class Connection:
    """Options of a gRPC channel.

    Attributes:
      tls: encryption; none if None.
      round_robin: take turns between all addresses that the target's name resolves to, as for a
        headless Kubernetes service; otherwise the first that answers gets everything.
      keepalive_seconds: ping a silent connection this often, so that nothing on the way drops it
        and a dead one is noticed; never if None. A gRPC server ends connections that ping more
        often than it allows, by default every two hours without a call under way.
    """

    tls: Tls | None = None
    round_robin: bool = False
    keepalive_seconds: float | None = None

    def options(self) -> list[tuple[str, object]]:
        """The channel's arguments."""
        options: list[tuple[str, object]] = [("grpc.max_receive_message_length", -1)]
        for which, milliseconds in _RECONNECT_MILLISECONDS.items():
            options.append((f"grpc.{which}_reconnect_backoff_ms", milliseconds))
        if self.round_robin:
            options.append(("grpc.service_config", _ROUND_ROBIN))
        if self.keepalive_seconds is not None:
            options += [
                ("grpc.keepalive_time_ms", round(self.keepalive_seconds * 1000)),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
            ]
        return options

    def channel(self, target: str) -> grpc.Channel:
        """A channel to `host:port`; it connects when it is first used."""
        if self.tls is None:
            return grpc.insecure_channel(target, self.options())
        return grpc.secure_channel(target, self.tls.credentials(), self.options())

    def async_channel(self, target: str) -> grpc.aio.Channel:
        """A channel of the running event loop."""
        if self.tls is None:
            return grpc.aio.insecure_channel(target, self.options())
        return grpc.aio.secure_channel(target, self.tls.credentials(), self.options())
