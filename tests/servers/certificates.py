"""Certificates for servers on loopback, signed by an authority that lives as long as its folder."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"


class Certificate(NamedTuple):
    """Two PEM files."""

    certificate: Path
    key: Path

    @property
    def key_digest(self) -> str:
        """SHA-256 of its public key as certificates have it, in base64."""
        public_key = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_key()
        return b64encode(
            sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        ).decode()


class Authority:
    """Signs certificates for programs on loopback. `certificate` is what their peers must trust."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Seine's tests")
        signed = _draft(self._name, self._key).issuer_name(self._name)
        signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(signed.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, password: str = "") -> Certificate:
        """A certificate of `name` for 127.0.0.1, and its key, encrypted where there is a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(_name(name), key).issuer_name(self._name)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])
        signed = draft.add_extension(address, critical=False).sign(self._key, SHA256())
        files = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        protection = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        return files


def _draft(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    draft = x509.CertificateBuilder().subject_name(name).public_key(key.public_key())
    draft = draft.serial_number(x509.random_serial_number())
    return draft.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
