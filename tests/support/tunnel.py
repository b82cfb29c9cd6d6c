"""A proxy that speaks CONNECT: what was asked for, and bytes both ways."""

import contextlib
import socket
import threading


class Tunnel:
    """.asked: the authority of each CONNECT; every tunnel leads to that place."""

    def __init__(self):
        self.asked = []
        self.socket_ = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket_.getsockname()[1]}"
        self.open_ = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.socket_.accept()[0]], daemon=True).start()

    def serve(self, client):
        self.open_.append(client)
        head = b""
        with contextlib.suppress(OSError):
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1) or b"\r\n\r\n"
            method, authority, _ = head.split(b"\r\n")[0].decode().split(" ")
            assert method == "CONNECT"
            self.asked.append(authority)
            host, _, port = authority.rpartition(":")
            there = socket.create_connection((host, int(port)), 10)
            self.open_.append(there)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=self.relay, args=[there, client], daemon=True).start()
            self.relay(client, there)

    @staticmethod
    def relay(from_, to):
        with contextlib.suppress(OSError):
            while data := from_.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket_.close()
        for each in self.open_:
            each.close()
