"""Who vouches for a bundle: a DSSE envelope with an Ed25519 signature over an in-toto statement about its manifest.

DSSE: github.com/secure-systems-lab/dsse; in-toto Statement v1: github.com/in-toto/attestation. The statement carries
the signer's public key, so that a signature can be checked by anybody; whose key it is, only `known_keys` tells.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lynxbench.errors import UntrustedInput, UsageError
from lynxbench.leaderboard.archive import MANIFEST
from lynxbench.leaderboard.documents import check_name, parse

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:lynxbench:benchmark-results:1"
_LONGEST_KEY = 4096
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Attested:
    """A signature that holds. `signer` is the name under which the key is known here; None: anybody's."""

    key_id: str
    signer: str | None


def make_key(file: Path) -> str:
    """Write a new private key to `file`, for its owner's eyes alone, and its public half to `file`.pub.

    Returns the key's id. Raises `UsageError` where either file exists.
    """
    _needed()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    public = file.with_name(file.name + ".pub")
    for path in (file, public):
        if path.exists():
            raise UsageError(f"{path} exists; a key is never written over\n  try       another name")
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(_pem(key.public_key()))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from None
    return _signer(file).public_key.keyid


def attest(manifest: bytes, key: Path) -> bytes:
    """The bytes of `attestation.json`: the manifest, signed by the private key in file `key`. Raises `UsageError`."""
    _needed()
    from securesystemslib.dsse import Envelope

    signer = _signer(key)
    envelope = Envelope(_statement(manifest, signer.public_key.keyval["public"]), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def known_keys(folder: Path) -> dict[str, str]:
    """Key id → the name of its file in `folder` (``alice.pub`` is alice's). Raises `UsageError` for a file without."""
    _needed()
    from securesystemslib.exceptions import FormatError, UnsupportedLibraryError

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of public keys")
    known: dict[str, str] = {}
    for file in sorted(folder.glob("*.pub")):
        try:
            known[_public_key(file.read_bytes()).keyid] = file.stem
        except (OSError, ValueError, TypeError, FormatError, UnsupportedLibraryError) as error:
            raise UsageError(f"{file} is no public Ed25519 key in PEM: {error}") from None
    return known


def checked(content: bytes, manifest: bytes, known: Mapping[str, str]) -> Attested:
    """The attestation of a bundle, its signature found to hold for just this manifest. Raises `UntrustedInput`."""
    _needed()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey

    value = parse(content, "attestation.json")
    statement = _payload(value)
    try:
        public = statement["predicate"]["signer_public_key"]
        if not _HEX_KEY.fullmatch(public):
            raise ValueError("no Ed25519 key")
        key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except (KeyError, TypeError, ValueError, Error, UnsupportedAlgorithm):
        raise UntrustedInput("attestation.json: no public Ed25519 key of its signer in it") from None
    try:
        envelope = Envelope.from_dict(value)
        envelope.verify([key], 1)
    except (Error, ValueError, KeyError, TypeError, AttributeError):
        raise UntrustedInput("attestation.json: the signature does not hold") from None
    if envelope.payload != _statement(manifest, public):
        raise UntrustedInput("attestation.json: what was signed is not this manifest")
    return Attested(key.keyid, known.get(key.keyid))


def _payload(value: Any) -> Any:
    """What the envelope says, read as strictly as any document before the signature is looked at."""
    if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
        raise UntrustedInput("attestation.json: is no DSSE envelope")
    if value["payloadType"] != PAYLOAD_TYPE:
        raise UntrustedInput("attestation.json: its payload is no in-toto statement")
    if not isinstance(value["signatures"], list) or len(value["signatures"]) != 1:
        raise UntrustedInput("attestation.json: holds not one signature")
    signature = value["signatures"][0]
    if not isinstance(signature, dict) or signature.keys() != {"keyid", "sig"}:
        raise UntrustedInput("attestation.json: holds no signature with its key's id")
    for text in signature.values():
        if not isinstance(text, str):
            raise UntrustedInput("attestation.json: holds no signature with its key's id")
        check_name(text, "attestation.json: signature")
    try:
        content = base64.b64decode(value["payload"], validate=True)
    except (ValueError, TypeError):
        raise UntrustedInput("attestation.json: its payload is no base64") from None
    statement = parse(content, "attestation.json: payload")
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise UntrustedInput("attestation.json: its payload is no in-toto statement, version 1")
    return statement


def _statement(manifest: bytes, public_key: str) -> bytes:
    """The in-toto statement: its subjects are the manifest and every file that the manifest names."""
    about = json.loads(manifest)
    subjects = [
        {"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}},
        *({"name": file["name"], "digest": {"sha256": file["sha256"]}} for file in about["files"]),
    ]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "lynxbench_version": about["lynxbench_version"],
            "run_id": about["run_id"],
            "signer_public_key": public_key,
        },
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def _signer(file: Path) -> CryptoSigner:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        hint = f"lynxbench leaderboard keygen {file}"
        raise UsageError(f"{file}: no such key\n  try       {hint}") from None
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{file} is no private key in PEM without a passphrase: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{file} is no Ed25519 key\n  try       lynxbench leaderboard keygen FILE")
    return CryptoSigner(key)


def _public_key(pem: bytes) -> SSlibKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    if len(pem) > _LONGEST_KEY:
        raise ValueError("too long for a key")
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("another kind of key")
    return SSlibKey.from_crypto(key)


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _needed() -> None:
    if not all(find_spec(name) for name in ("cryptography", "securesystemslib")):
        raise UsageError("signatures need two libraries more\n  try       pip install 'lynxbench[sign]'")
