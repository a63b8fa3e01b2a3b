"""SimpleApp: counts visits in Redis, keeps favourite foods in MySQL, and trusts the wait before it: no retries here."""

import http.server
import json
import os
import urllib.parse

import pymysql
import redis


def secret(name):
    """The file byte for byte: a newline too many is a wrong password, and shall be one."""
    with open(f"/run/secrets/{name}", encoding="utf-8", newline="") as file:
        return file.read()


def database():
    return pymysql.connect(
        host=os.environ["DB_HOST"],
        user="root",
        password=secret("mysql_password"),
        database=os.environ["MYSQL_DATABASE"],
        autocommit=True,
    )


def cache():
    host, port = os.environ["REDIS_ADDR"].split(":")
    return redis.Redis(host=host, port=int(port), password=secret("redis_password"))


def database_url_works():
    """The address in DATABASE_URL is made by a template; it must lead to the same database."""
    url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    connection = pymysql.connect(
        host=url.hostname, port=url.port, user=url.username, password=url.password, database=url.path.lstrip("/")
    )
    connection.close()
    return True


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, food FROM favourites ORDER BY id")
            favourites = cursor.fetchall()
        self.reply(
            {
                "visits": cache().incr("visits"),
                "favourites": favourites,
                "greeting": os.environ["GREETING"],
                "public_url": os.environ["PUBLIC_URL"],
                "tz": os.environ["TZ"],
                "database_url_works": database_url_works(),
                "chandlery_variables": [name for name in os.environ if name.startswith("CHANDLERY_")],
            }
        )

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        with database() as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO favourites (name, food) VALUES (%s, %s)", (form["name"][0], form["food"][0])
            )
        self.reply({"stored": True})

    def reply(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("redis:", cache().ping(), flush=True)
database().close()
print("database: connected", flush=True)
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
