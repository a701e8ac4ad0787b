"""Who may speak with whom: an authority of the run's own, the server's certificate, and a key for each hospital."""

import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from medtk.errors import CorruptFile, MedtkError

_DAYS = 825


def make_certificates(folder: Path, addresses: Sequence[str]) -> None:
    """Make an authority (``ca.pem``) and a certificate of the server, signed by it, for names and IP addresses.

    Four files come into `folder`: ``ca.pem`` goes to the hospitals, ``ca_key.pem``, ``server.pem`` and
    ``server_key.pem`` stay. Keys are readable by their owner only.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())

    def certificate(name: str, key, issuer: str, days: int, extensions: Sequence[tuple]) -> "x509.Certificate":
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))  # the hospitals' clocks may be late
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(authority_key, hashes.SHA384())

    def usage(**given: bool) -> "x509.KeyUsage":
        names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
        return x509.KeyUsage(**(dict.fromkeys(names, False) | given))

    authority = certificate(
        "medtk federation",
        authority_key,
        "medtk federation",
        4 * _DAYS,
        [(x509.BasicConstraints(ca=True, path_length=0), True), (usage(key_cert_sign=True, crl_sign=True), True)],
    )
    server = certificate(
        "medtk server",
        server_key,
        "medtk federation",
        _DAYS,
        [
            (x509.SubjectAlternativeName([_general_name(address) for address in addresses]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    for name, found in (("ca.pem", authority), ("server.pem", server)):
        write_private(folder / name, found.public_bytes(pem))
    for name, key in (("ca_key.pem", authority_key), ("server_key.pem", server_key)):
        write_private(folder / name, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def _general_name(address: str):
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def make_node_key(private: Path, public: Path) -> None:
    """Make the pair of keys by which a hospital shows who it is: P-384, as OpenSSH writes them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    openssh, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    write_private(private, key.private_bytes(serialization.Encoding.PEM, openssh, plain))
    own = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_private(public, own + b"\n")


def public_key(path: Path) -> bytes:
    """Public key of a file that OpenSSH wrote, as Flower wants it; `CorruptFile` if it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError(f"{type(key).__name__} is not on a NIST curve")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CorruptFile(
            f"{path} is not the public half of a hospital's key ({error}): `ssh-keygen -t ecdsa -b 384` makes one."
        ) from error
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def check_server(address: str, port: int, authority: Path, seconds: float = 20) -> None:
    """Speak TLS with a server for a moment; `MedtkError` says what is wrong, if anything."""
    where = f"{address}:{port}"
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise CorruptFile(f"{authority} is no certificate ({error}); ask for the invitation again.") from error
    try:
        with (
            socket.create_connection((address, port), timeout=seconds) as line,
            context.wrap_socket(line, server_hostname=address),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        raise MedtkError(
            f"The certificate of {where} is wrong ({error.verify_message}): it was not made for this address by the "
            f"authority in {authority}. Nothing was sent. Take the invitation of the run that is up now, or ask who "
            "else answers there."
        ) from error
    except ssl.SSLError as error:
        raise MedtkError(
            f"What answers at {where} does not speak TLS ({error.reason}); is it the right port?"
        ) from error
    except OSError as error:
        raise MedtkError(
            f"Nothing answers at {where} ({error.strerror or error}): is `medtk federate up` running there, and may "
            "this machine reach that port?"
        ) from error
