"""Secrets at rest: tokens as digests, providers' keys encrypted by the site's SECRET_KEY.

To rotate: put the new key into SECRET_KEY and the old one into SECRET_KEY_FALLBACKS, run
`manage.py rotate_provider_keys`, then the old one can go.
"""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# Binds the derived key to this one use of SECRET_KEY (RFC 5869, 3.2).
PURPOSE = b"chatsite: keys of providers"
FERNET_KEY_BYTES = 32


class SecretLost(Exception):
    """It was encrypted with a SECRET_KEY that is neither the site's nor among the fallbacks."""


def hash_token(token: str) -> str:
    """What is stored of a token of our own making, to find it again: its sha256 in hexadecimal."""
    # 256 random bits need no slow hash. A header's bytes may have come as surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def encrypt(secret: str) -> str:
    """Return it encrypted with the first key: printable, and different each time."""
    return _fernet().encrypt(secret.encode()).decode("ascii")


def decrypt(encrypted: str) -> str:
    """Return what `encrypt` was given. Raises SecretLost."""
    try:
        return _fernet().decrypt(encrypted.encode()).decode()
    except InvalidToken:
        raise SecretLost from None


def reencrypt(encrypted: str) -> str:
    """Return it encrypted with the first key, whichever it was before. Raises SecretLost."""
    try:
        return _fernet().rotate(encrypted.encode()).decode("ascii")
    except InvalidToken:
        raise SecretLost from None


def _fernet() -> MultiFernet:
    return _fernet_of((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=4)
def _fernet_of(site_keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derive(key)) for key in site_keys])


def _derive(site_key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=FERNET_KEY_BYTES, salt=None, info=PURPOSE)
    return base64.urlsafe_b64encode(derivation.derive(site_key.encode()))
