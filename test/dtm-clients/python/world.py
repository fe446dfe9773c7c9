"""What the tests of DTM's Python client share: where the coordinator is, a service that is called, and its database."""

import json
import os
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pymysql
import requests
from dtmcli import utils
from dtmcli.barrier import AutoCursor, BranchBarrier

DTM = os.environ["ATOMESH_HTTP"] + "/api/dtmsvr"
TRANSFER = {"amount": 30}


class Outage(Exception):
    """The service is out of order for the moment."""


class Ongoing(Exception):
    """The service is not done yet."""


class Request:
    def __init__(self, query, headers, body, number):
        self.query = query
        self.headers = headers
        self.body = body
        # Which call of this operation it is, from 1 on.
        self.number = number

    def barrier(self):
        return BranchBarrier(*(self.query[name] for name in ("trans_type", "gid", "branch_id", "op")))


class Service:
    """Every operation succeeds unless a handler raises something."""

    def __init__(self, **handlers):
        self.handlers = handlers
        self.calls = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def url(self, operation):
        return f"http://127.0.0.1:{self.server.server_port}/{operation}"

    def answer(self, operation, query, headers, body):
        with self.lock:
            self.calls.append(operation)
            number = self.calls.count(operation)
        work = self.handlers.get(operation)
        if work is not None:
            work(Request(query, headers, body, number))

    def handler(service):
        class Handler(BaseHTTPRequestHandler):
            def serve(self):
                target = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                query = {name: values[0] for name, values in parse_qs(target.query).items()}
                try:
                    service.answer(target.path[1:], query, self.headers, json.loads(body) if body else None)
                    self.reply(200, "SUCCESS")
                except utils.DTMFailureError as error:
                    self.reply(409, f"{error} FAILURE")
                except Ongoing:
                    self.reply(425, "ONGOING")
                except Exception as error:
                    self.reply(500, repr(error))

            do_GET = do_POST = serve

            def reply(self, status, result):
                body = json.dumps({"dtm_result": result}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def always(error):
    def work(_request):
        raise error

    return work


def at_first(*errors):
    """The first calls are answered so, one after the other; then it succeeds."""

    def work(request):
        if request.number <= len(errors):
            raise errors[request.number - 1]

    return work


def then_outage(work):
    """Does the work, and has its answer lost the first time."""

    def lose(request):
        work(request)
        if request.number == 1:
            raise Outage()

    return lose


def cursor():
    """A cursor on a connection of its own, as the documentation of the barrier makes them."""
    port = int(os.environ["MARIADB_PORT"])
    return AutoCursor(pymysql.connect(host="127.0.0.1", port=port, user="atomesh", database="bank").cursor())


def adjust(name, amount):
    def work(tx):
        try:
            tx.execute("update account set balance = balance + %s where name = %s", (amount, name))
        except pymysql.err.OperationalError as error:
            raise utils.DTMFailureError(f"not enough money: {error}") from error

    return work


def moving(name, amount):
    """Moves money behind the barrier."""

    def work(request):
        with cursor() as tx:
            request.barrier().call(tx, adjust(name, amount))

    return work


class TestCase(unittest.TestCase):
    def service(self, **handlers):
        service = Service(**handlers)
        self.addCleanup(service.close)
        return service

    def new_gid(self):
        return utils.gen_gid(DTM)

    def account(self, balance):
        name = utils.gen_gid(DTM)
        with cursor() as tx:
            tx.execute("insert into account (name, balance) values (%s, %s)", (name, balance))
            tx.connection.commit()
        return name

    def balance(self, name):
        with cursor() as tx:
            tx.execute("select balance from account where name = %s", (name,))
            return tx.fetchone()[0]

    def rows(self, gid):
        """The barrier rows of a transaction, as (branch, op, reason)."""
        with cursor() as tx:
            tx.execute(
                "select branch_id, op, reason from dtm_barrier.barrier where gid = %s order by branch_id, op", (gid,)
            )
            return [" ".join(row) for row in tx.fetchall()]

    def status(self, gid):
        return requests.get(f"{DTM}/query", params={"gid": gid}).json()["transaction"]["status"]

    def assert_ends(self, gid, expected):
        """Waits until the transaction has ended, at most 20 s."""
        deadline = time.monotonic() + 20
        while (found := self.status(gid)) not in ("succeed", "failed") and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(found, expected)
