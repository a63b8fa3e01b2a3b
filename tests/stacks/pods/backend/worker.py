"""A worker: takes one invitation at a time and writes to whoever signed up."""

import os
import smtplib
import socket
import sys
import time

import pymysql

me = socket.gethostname()
mailer = os.environ["MAIL_HOST"]
connection = pymysql.connect(
    host=os.environ["DB_HOST"],
    user=os.environ["DB_USER"],
    password=os.environ["DB_PWD"],
    database=os.environ["DB_NAME"],
    autocommit=True,
)


def take():
    """Reserves the oldest invitation that nobody has, or none."""
    with connection.cursor() as cursor:
        if not cursor.execute("UPDATE invitations SET worker=%s WHERE worker IS NULL ORDER BY id LIMIT 1", (me,)):
            return None
        cursor.execute("SELECT id, mail FROM invitations WHERE worker=%s AND NOT sent", (me,))
        return cursor.fetchone()


def send(mail):
    with smtplib.SMTP(mailer, 1025) as server:
        server.login(os.environ["MAIL_USER"], os.environ["MAIL_PWD"])
        server.sendmail(
            f"{os.environ['PROCESS_NAME']}@{me}", [mail], f"Subject: Welcome to {os.environ['SITE_NAME']}\r\n\r\nHello!\r\n"
        )


while True:
    try:
        task = take()
    except pymysql.err.ProgrammingError:
        # The site has not made its table yet.
        task = None
    if task is None:
        time.sleep(0.2)
        continue
    number, mail = task
    send(mail)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE invitations SET sent=TRUE WHERE id=%s", (number,))
    print(f"{me}: sent number {number}", file=sys.stderr)
    # Others are to have work, too.
    time.sleep(0.5)
