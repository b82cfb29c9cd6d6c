"""Certificates, good and bad in one way each, made on the spot."""

import dataclasses
import datetime
import ipaddress
import pathlib
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


@dataclasses.dataclass
class Certificate:
    """One with its key, and those that a server sends with it."""

    it: x509.Certificate
    key: object
    chain: tuple = ()

    @property
    def pem(self):
        return self.it.public_bytes(PEM)

    @property
    def chain_pem(self):
        return b"".join(each.public_bytes(PEM) for each in (self.it, *self.chain))

    def key_pem(self, password=None):
        how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how)

    def server(self, context=None):
        """An ssl.SSLContext that shows it."""
        context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "both.pem"
            file.write_bytes(self.chain_pem + self.key_pem())
            context.load_cert_chain(file)
        return context

    def write(self, folder, name, password=None):
        """What `tls:` of a listener names."""
        files = {"certificate": folder / f"{name}.pem", "key": folder / f"{name}.key"}
        files["certificate"].write_bytes(self.chain_pem)
        files["key"].write_bytes(self.key_pem(password))
        return {what: str(file) for what, file in files.items()}


def make(*names, by=None, cn=None, first=NOW - DAY, last=NOW + 30 * DAY, usage=(ExtendedKeyUsageOID.SERVER_AUTH,), ca=False, key=None, more=()):
    """A certificate for `names`, signed by `by`, or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn or (names[0] if names else "An Authority"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.it.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if by:
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
    if names:

        def name(text):
            try:
                return x509.IPAddress(ipaddress.ip_address(text))
            except ValueError:
                return x509.DNSName(text)

        made = made.add_extension(x509.SubjectAlternativeName([name(each) for each in names]), critical=False)
    if usage and not ca:
        made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    for each in more:
        made = made.add_extension(each, critical=True)
    signed = made.sign(by.key if by else key, hashes.SHA256())
    chain = (by.it, *by.chain) if by and by.it.issuer != by.it.subject else ()
    return Certificate(signed, key, chain)


def authority(cn="A Company's Authority", **more):
    return make(cn=cn, ca=True, **more)


LONG_AGO = {"first": NOW - 60 * DAY, "last": NOW - 30 * DAY}
SOME_DAY = {"first": NOW + 30 * DAY, "last": NOW + 60 * DAY}


def bad(company):
    """{what is wrong: (certificate for 127.0.0.1, words of the error)}; `company` is trusted."""
    between = authority("Between", by=company)
    without = make("127.0.0.1", by=between)
    only_inside = authority("Only Inside", by=company, more=[x509.NameConstraints([x509.DNSName("inside.example")], None)])
    no_ip = x509.NameConstraints(None, [x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))])
    not_here = authority("Not Here", by=company, more=[no_ip])
    leaf = make("other.example", by=company)
    return {
        "expired": (make("127.0.0.1", by=company, **LONG_AGO), "its certificate expired on"),
        "not yet valid": (make("127.0.0.1", by=company, **SOME_DAY), "is not valid before"),
        "another host": (make("other.example", "10.0.0.1", by=company), "for another name: it has DNS:other.example, IP Address:10.0.0.1"),
        "an address as a name": (make("localhost", by=company), "for another name: it has DNS:localhost"),
        "a common name alone": (make(cn="127.0.0.1", by=company), "no name at all"),
        "self-signed": (make("127.0.0.1"), "self-signed"),
        "an unknown authority": (make("127.0.0.1", by=authority("Nobody We Know")), "`CN = Nobody We Know`, which is not trusted here"),
        "for clients only": (make("127.0.0.1", by=company, usage=[ExtendedKeyUsageOID.CLIENT_AUTH]), "not one for servers"),
        "an intermediate missing": (dataclasses.replace(without, chain=()), "`CN = Between`, which is not trusted here"),
        "an expired intermediate": (make("127.0.0.1", by=authority("Old", by=company, **LONG_AGO)), "a certificate in its chain expired on"),
        "constrained to other names": (make("127.0.0.1", by=not_here), "subtree"),
        "signed by a server": (make("127.0.0.1", by=dataclasses.replace(leaf, chain=())), "is refused: invalid CA certificate"),
        "a weak key": (make("127.0.0.1", by=company, key=rsa.generate_private_key(65537, 1024)), "too weak"),
        "constrained and named so": (make("127.0.0.1", "outside.example", by=only_inside), "subtree"),
    }
