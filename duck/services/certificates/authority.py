"""A certificate authority that speaks ACME (RFC 8555), asked with our account there.

Everything here waits for the network: it runs in a process of its own (see `keeper`), never in one that serves.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acme import client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.json_util import encode_b64jose
from josepy.jwa import ES256
from josepy.jwk import JWKEC

import duck
from duck.exceptions import CertificateError
from duck.services.certificates.account import account_directory
from duck.services.certificates.acme_failures import told_of
from duck.services.certificates.acme_network import AcmeNetwork
from duck.services.certificates.challenge import DNS_01, Prover
from duck.services.certificates.leaf import PrivateKey, key_pem, new_key, signing_request
from duck.services.certificates.names import address_of
from duck.services.certificates.private_file import read_json, write_json, write_private

if TYPE_CHECKING:
    from duck.services.certificates.store import Pair

_TIMEOUT_S: Final = 30
_ORDER_S: Final = 180.0
_SHORT_LIVED: Final = "shortlived"
# With which an authority says that an order does not replace what it names (RFC 9773 §5).
_NOT_REPLACED: Final = ("alreadyReplaced", "malformed", "unauthorized")

logger = logging.getLogger("duck.app")


class Authority:
    """One authority; connects when it is first asked.

    Args:
        state: the state directory.
        directory: the address of its ACME directory.
        ca_file: what its own certificate is checked by; None for the system's authorities.
        email: where it may write to; None for nowhere.
        agrees: whether its terms are accepted.
        eab: identifier and key, in base64url, of an account that it has already (RFC 8555 §7.3.4).
    """

    def __init__(
        self,
        state: Path,
        directory: str,
        *,
        ca_file: Path | None = None,
        email: str | None = None,
        agrees: bool = False,
        eab: tuple[str, str] | None = None,
        timeout_s: int = _TIMEOUT_S,
    ) -> None:
        self.directory = directory
        self._account_file = account_directory(state, directory) / "account.json"
        self._key_file = account_directory(state, directory) / "key.pem"
        self._ca_file = ca_file
        self._email = email
        self._agrees = agrees
        self._eab = eab
        self._timeout_s = timeout_s
        self._key: PrivateKey | None = None
        self._client: client.ClientV2 | None = None
        self._network: AcmeNetwork | None = None

    # -- what it says of itself -----------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """What its directory says, without an account: `terms`, `caa`, `profiles`, `renewal_info`, `binds_accounts`;
        and `clock_s`, by how much its clock is ahead of ours.

        Raises:
            CertificateError: it is not reached.
        """
        connected = self._connect(JWKEC(key=new_key()))
        meta = connected.directory.meta
        assert self._network is not None
        said = self._network.date
        return {
            "terms": meta.terms_of_service,
            "caa": list(meta.caa_identities or ()),
            "profiles": dict(meta.profiles or {}),
            "renewal_info": _has_renewal_info(connected),
            "binds_accounts": bool(meta.external_account_required),
            "clock_s": None if said is None else said - time.time(),
        }

    # -- the account ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect with our account, which is made where there is none.

        Raises:
            CertificateError: it is not reached, its terms have not been accepted, or it refuses.
        """
        if self._client is not None and self._network is not None and self._network.account is not None:
            return
        account = read_json(self._account_file)
        try:
            loaded: Any = load_pem_private_key(self._key_file.read_bytes(), None)
        except (OSError, ValueError):
            loaded, account = new_key(), {}
        self._key = loaded
        connected = self._connect(JWKEC(key=loaded))
        if account.get("uri"):
            registration = messages.Registration()
            connected.net.account = messages.RegistrationResource(uri=account["uri"], body=registration)
            if account.get("email") != self._email:
                self._update_contact(connected, account)
        else:
            self._register()

    def tell_contact(self) -> None:
        """Tell it of another `email` than it was told last; nobody is asked where there is no account yet.

        Raises:
            CertificateError: it is not reached, or refuses.
        """
        account = read_json(self._account_file)
        if account.get("uri") and account.get("email") != self._email:
            self.open()

    def _update_contact(self, connected: client.ClientV2, account: dict[str, Any]) -> None:
        """Where it does not take that, certificates are issued all the same; it is told again the next time."""
        assert connected.net.account is not None
        wanted = messages.UpdateRegistration.from_data(email=self._email, contact=())
        try:
            with self._told():
                connected.net.post(connected.net.account.uri, wanted, new_nonce_url=connected.directory["newNonce"])
        except CertificateError as error:
            logger.warning("The authority was not told of EMAIL: %s", error)
        else:
            write_json(self._account_file, {**account, "email": self._email})

    def _register(self) -> None:
        connected = self._client
        assert connected is not None and self._key is not None
        terms = connected.directory.meta.terms_of_service
        if terms and not self._agrees and read_json(self._account_file).get("terms") != terms:
            raise CertificateError(
                f"The terms of {self.directory} are at {terms}; accept them by --agree-tos, once.", kind="terms"
            )
        binding = self._binding(connected)
        # Before the authority knows of it: an account whose key is lost is of no use.
        write_private(self._key_file, key_pem(self._key))
        wanted = messages.NewRegistration.from_data(
            email=self._email,
            terms_of_service_agreed=True if terms else None,
            external_account_binding=binding,
        )
        with self._told():
            try:
                made = connected.new_account(wanted)
                uri = made.uri
            except errors.ConflictError as error:
                uri = error.location  # of an earlier try whose answer was lost
                connected.net.account = messages.RegistrationResource(uri=uri, body=messages.Registration())
        write_json(
            self._account_file,
            {
                "directory": self.directory,
                "uri": uri,
                "email": self._email,
                "terms": terms,
                "agreed": datetime.now(UTC).isoformat(timespec="seconds") if terms else None,
            },
        )

    def _binding(self, connected: client.ClientV2) -> dict[str, Any] | None:
        """What shows that our account is of one that it has already."""
        if self._eab is None:
            if connected.external_account_required():
                raise CertificateError(
                    f"{self.directory} makes accounts only for those who have one there already; give --eab-kid"
                    " (ACME_EAB_KID) and ACME_EAB_HMAC_KEY, as it told you them.",
                    kind="terms",
                )
            return None
        kid, hmac_key = self._eab
        assert connected.net.key is not None
        return messages.ExternalAccountBinding.from_data(
            connected.net.key.public_key(), kid, hmac_key, connected.directory
        )

    # -- certificates ---------------------------------------------------------------------------------------------

    def obtain(
        self,
        name: str,
        key: PrivateKey,
        prover: Prover,
        *,
        profile: str | None = None,
        before: Pair | None = None,
        deadline_s: float = _ORDER_S,
    ) -> tuple[bytes, str | None]:
        """A certificate for `name`, canonical, as PEM with its chain; and the profile that was asked for.

        Args:
            before: what it replaces, of the same authority (RFC 9773 §5).

        Raises:
            CertificateError: it did not get so far; `kind` says why.
        """
        self.open()
        connected = self._client
        assert connected is not None
        profile = self._profile(name, profile)
        deadline = datetime.now() + timedelta(seconds=deadline_s)
        replaces = None
        if before is not None and _has_renewal_info(connected):
            replaces = certificate_id(before.chain.read_bytes())
        try:
            with self._told():
                return self._obtain(connected, name, key, prover, profile, deadline, replaces), profile
        except CertificateError as error:
            if not isinstance(error.__cause__, messages.Error) or error.__cause__.code != "accountDoesNotExist":
                raise
        # It has forgotten us, as a private authority that was set up anew does.
        connected.net.account = None
        self._register()
        with self._told():
            return self._obtain(connected, name, key, prover, profile, deadline), profile

    def _obtain(
        self,
        connected: client.ClientV2,
        name: str,
        key: PrivateKey,
        prover: Prover,
        profile: str | None,
        deadline: datetime,
        replaces: str | None = None,
    ) -> bytes:
        order = self._new_order(connected, signing_request(key, [name]), profile, replaces)
        presented: list[tuple[str, str]] = []
        try:
            waiting = []
            for authorization in order.authorizations:
                if authorization.body.status == messages.STATUS_VALID:
                    continue
                challenge = _choose(authorization.body.challenges, prover.kind, name)
                response, value = challenge.chall.response_and_validation(connected.net.key)
                token = challenge.chall.encode("token")
                presented.append((token, value))
                prover.present(name, token, value)
                waiting.append((challenge, response))
            if waiting:
                prover.settle()
            for challenge, response in waiting:
                connected.answer_challenge(challenge, response)
            connected.poll_authorizations(order, deadline)
            done = connected.finalize_order(order, deadline)
        finally:
            for token, value in presented:
                prover.remove(name, token, value)
        return str(done.fullchain_pem).encode()

    def _new_order(
        self, connected: client.ClientV2, request: bytes, profile: str | None, replaces: str | None
    ) -> messages.OrderResource:
        assert self._network is not None
        if replaces is None:
            return connected.new_order(request, profile=profile)
        self._network.replaces = replaces
        try:
            return connected.new_order(request, profile=profile)
        except errors.ConflictError:
            pass  # as which the library tells `alreadyReplaced`
        except messages.Error as error:
            if _type_of(error) not in _NOT_REPLACED:
                raise
        finally:
            self._network.replaces = None
        # Of an account that was lost, or replaced already by what was never received: an order as any other.
        return connected.new_order(request, profile=profile)

    def _profile(self, name: str, wanted: str | None) -> str | None:
        assert self._client is not None
        offered = dict(self._client.directory.meta.profiles or {})
        if wanted is None:
            # Let's Encrypt issues for addresses in this profile only.
            return _SHORT_LIVED if address_of(name) is not None and _SHORT_LIVED in offered else None
        if wanted not in offered:
            known = ", ".join(sorted(offered)) or "none"
            raise CertificateError(
                f"{self.directory} has no profile {wanted!r}, but {known}; correct ACME_PROFILE, or leave it out.",
                kind="authority",
            )
        return wanted

    def renewal(self, pair: Pair) -> tuple[float | None, float]:
        """When `pair` should be renewed, drawn from the window that the authority suggests (RFC 9773 §4.2), and when to
        ask again; None where it suggests nothing.

        Raises:
            CertificateError: it is not reached.
        """
        connected = self._connect(JWKEC(key=new_key())) if self._client is None else self._client
        with self._told():
            at, again = connected.renewal_time(pair.chain.read_bytes())
        # Naive moments of the library are of the local time zone.
        return None if at is None else at.timestamp(), again.timestamp()

    # -- the connection -------------------------------------------------------------------------------------------

    @property
    def retry_after_s(self) -> float | None:
        """What it last said of when to come again."""
        return None if self._network is None else self._network.retry_after_s

    def _told(self) -> AbstractContextManager[None]:
        return told_of(self.directory, lambda: self.retry_after_s)

    def close(self) -> None:
        """Give the connections back."""
        network, self._network, self._client = self._network, None, None
        if network is not None:
            network.session.close()

    def _connect(self, key: JWKEC) -> client.ClientV2:
        self.close()
        verify: Any = True if self._ca_file is None else str(self._ca_file)
        network = AcmeNetwork(
            key,
            alg=ES256,
            verify_ssl=verify,
            user_agent=f"duck-server/{duck.__version__}",
            timeout=self._timeout_s,
        )
        self._network = network
        with self._told():
            directory = client.ClientV2.get_directory(self.directory, network)
        self._client = client.ClientV2(directory, net=network)
        return self._client


def certificate_id(chain: bytes) -> str | None:
    """How an authority calls the first certificate of `chain`, PEM (RFC 9773 §4.1); None without its issuer's key."""
    leaf = x509.load_pem_x509_certificate(chain)
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if issuer is None:
        return None
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return f"{encode_b64jose(issuer)}.{encode_b64jose(serial)}"


def _has_renewal_info(connected: client.ClientV2) -> bool:
    return "renewalInfo" in connected.directory.to_partial_json()


def _type_of(error: messages.Error) -> str:
    return str(error.typ).rpartition(":")[2]


def _choose(challenges: Any, kind: str, name: str) -> messages.ChallengeBody:
    for challenge in challenges:
        if challenge.chall.typ == kind:
            found: messages.ChallengeBody = challenge
            return found
    offered = ", ".join(str(challenge.chall.typ) for challenge in challenges)
    remedy = "leave ACME_DNS_HOOK out" if kind == DNS_01 else "give --acme-dns-hook"
    raise CertificateError(
        f"The authority would have {name} proved by {offered}, and not by {kind}; {remedy}.", kind="validation"
    )
