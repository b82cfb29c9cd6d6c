"""Server contexts for tests, from certificates of trustme."""

import ssl


def server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
