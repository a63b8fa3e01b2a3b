"""The site: people sign up here, and a worker writes to them."""

import http.server
import json
import os
import urllib.parse

import pymysql

TABLE = (
    "CREATE TABLE IF NOT EXISTS invitations (id INT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(100) NOT NULL,"
    " worker VARCHAR(100), sent BOOLEAN NOT NULL DEFAULT FALSE)"
)


def database():
    return pymysql.connect(
        host=os.environ["DB_HOST"],
        user=os.environ["DB_USER"],
        password=os.environ["DB_PWD"],
        database=os.environ["DB_NAME"],
        autocommit=True,
    )


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT mail, worker, sent FROM invitations ORDER BY id")
            invitations = [{"mail": mail, "worker": worker, "sent": bool(sent)} for mail, worker, sent in cursor]
        self.reply({"site": os.environ["SITE_NAME"], "invitations": invitations})

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        with database() as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO invitations (mail) VALUES (%s)", form["mail"])
        self.reply({"queued": len(form["mail"])})

    def reply(self, content):
        body = (json.dumps(content) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


with database() as connection, connection.cursor() as cursor:
    cursor.execute(TABLE)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
