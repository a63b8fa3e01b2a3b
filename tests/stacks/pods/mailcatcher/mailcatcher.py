"""Takes mail on port 1025 from those who know the password, keeps it, and shows it on port 1080."""

import base64
import hmac
import http.server
import json
import os
import socketserver
import threading

messages = []


def authentic(response):
    """RFC 4616: authorization, user and password, with a zero byte between them."""
    expected = f"\0{os.environ['MAIL_USER']}\0{os.environ['MAIL_PWD']}".encode()
    return hmac.compare_digest(base64.b64decode(response), expected)


class Mail(socketserver.StreamRequestHandler):
    """As much of RFC 5321 and RFC 4954 as a mailer needs."""

    def handle(self):
        self.say("220 mailcatcher")
        allowed, sender, recipients = False, None, []
        for line in self.rfile:
            verb, _, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                self.say("250-mailcatcher", "250 AUTH PLAIN")
            elif verb == "AUTH":
                allowed = authentic(rest.split(" ")[-1])
                self.say("235 welcome" if allowed else "535 wrong user or password")
            elif verb == "QUIT":
                return self.say("221 bye")
            elif not allowed:
                self.say("530 authentication required")
            elif verb == "MAIL":
                sender = rest.partition("<")[2].partition(">")[0]
                self.say("250 ok")
            elif verb == "RCPT":
                recipients.append(rest.partition("<")[2].partition(">")[0])
                self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                text = "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                messages.append({"sender": sender, "recipients": recipients, "text": text})
                sender, recipients = None, []
                self.say("250 kept")
            else:
                self.say("250 ok")

    def say(self, *lines):
        self.wfile.write("".join(line + "\r\n" for line in lines).encode())


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (json.dumps(messages) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


threading.Thread(target=Server(("", 1025), Mail).serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", 1080), Page).serve_forever()
