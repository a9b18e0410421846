"""Where our account at a certificate authority is kept, and whether there is one; `authority` makes it.

<state>/acme/accounts/<directory's hash>/account.json    its address, the terms that were accepted, and when
<state>/acme/accounts/<directory's hash>/key.pem
<state>/acme/accounts/<directory's hash>/ledger.json     see `ledger`
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from duck.services.certificates.private_file import read_json


def account_directory(state: Path, directory: str) -> Path:
    """Where the account at `directory` is kept."""
    return state / "acme" / "accounts" / hashlib.sha256(directory.encode()).hexdigest()[:16]


def accepted_terms(state: Path, directory: str) -> bool:
    """Whether there is an account at `directory`, whose terms were accepted when it was made."""
    return bool(read_json(account_directory(state, directory) / "account.json").get("uri"))
