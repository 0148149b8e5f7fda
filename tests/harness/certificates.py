"""A certificate authority for one test run, and a certificate for brokers on loopback.

The rule kept here: nothing secret lives longer than the folder that it is written to.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


def write_certificates(folder: Path) -> tuple[Path, Path]:
    """Write `ca.pem`, for clients to trust, and `keystore.pem`, for the brokers; return both."""
    authority, authority_key = _x509_name("push-bridge test authority"), _new_key()
    root = (
        _certificate_builder(authority, authority, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    broker_key = _new_key()
    alternative_names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
    ]
    broker = (
        _certificate_builder(_x509_name("push-bridge test broker"), authority, broker_key)
        .add_extension(x509.SubjectAlternativeName(alternative_names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    ca_file, keystore = folder / "ca.pem", folder / "keystore.pem"
    ca_file.write_bytes(root.public_bytes(Encoding.PEM))
    # Kafka's PEM keystore is the key, then the chain from the broker's own certificate upward.
    private = broker_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = (certificate.public_bytes(Encoding.PEM) for certificate in (broker, root))
    keystore.write_bytes(b"".join((private, *chain)))
    return ca_file, keystore


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _x509_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate_builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """A certificate, yet to be signed: valid from an hour ago (clocks differ) for two days."""
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )
