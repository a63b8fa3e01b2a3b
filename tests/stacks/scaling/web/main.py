"""One of the web servers: it says which one it is, and leaves without dropping anybody.

SIGTERM (`docker-compose up --scale web=2`) begins the leaving: the health check answers 404, which takes this server out of the
load balancer's rotation; requests go on being answered for DRAIN seconds, until nobody sends any; then it stops to listen,
and ends when the last answer is out.
"""
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = socket.gethostname()
DRAIN = float(os.environ.get("DRAIN", "3"))
leaving = threading.Event()


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out in one piece

    def do_GET(self):
        if self.path == "/health":
            self.answer(404 if leaving.is_set() else 200, b"")
        elif self.path.startswith("/slow/"):
            self.slowly(int(self.path.removeprefix("/slow/")))
        else:
            self.answer(200, f"{os.environ.get('GREETING', 'Hello')} from {NAME}\n".encode())

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Web", NAME)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)

    def slowly(self, count):
        """A download: one line each tenth of a second."""
        self.send_response(200)
        self.send_header("Content-Length", str(count * 5))
        self.send_header("X-Web", NAME)
        self.end_headers()
        for line in range(count):
            self.wfile.write(b"%04d\n" % line)
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = False  # server_close waits for those who are still answering
    block_on_close = True


def leave(*_):
    def drain():
        time.sleep(DRAIN)
        server.shutdown()
    leaving.set()
    threading.Thread(target=drain).start()


server = Server(("", 80), Web)
signal.signal(signal.SIGTERM, leave)
print("listening", flush=True)
server.serve_forever()
server.server_close()
print("nobody is left", flush=True)
