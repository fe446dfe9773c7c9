"""gRPC of Python through a pair of sidecars: outbound, as its proxy, and inbound, in front of a server of its own."""

import os
import queue
import threading
import unittest
from concurrent import futures

import grpc

INBOUND = os.environ["INBOUND"]
OUTBOUND = os.environ["OUTBOUND"]
APP_PORT = os.environ["APP_PORT"]
GID = "g-python-1"


class App(grpc.GenericRpcHandler):
    """Messages are bytes; what a method does is said by its name."""

    def __init__(self):
        self.seen = queue.Queue()
        self.left = queue.Queue()
        self.hanging = queue.Queue()

    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        metadata = dict(details.invocation_metadata)
        self.seen.put(metadata)
        if name == "Late":
            return grpc.unary_stream_rpc_method_handler(self.late)
        if name == "Talk":
            return grpc.stream_stream_rpc_method_handler(lambda messages, _context: messages)
        return grpc.unary_unary_rpc_method_handler(getattr(self, name.lower()))

    def place(self, message, context):
        context.set_trailing_metadata((("x-served", "yes"),))
        return message

    def fail(self, _message, context):
        context.abort(grpc.StatusCode.ABORTED, "sold out")

    def hang(self, _message, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        remaining = context.time_remaining()
        self.hanging.put(True)
        gone.wait(20)
        self.left.put((gone.is_set(), remaining))
        return b""

    def late(self, _message, context):
        threading.Event().wait(2)
        yield b"1"
        yield b"2"


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.app = App()
        cls.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(cls.app,))
        cls.server.add_insecure_port(f"127.0.0.1:{APP_PORT}")
        cls.server.start()
        cls.channel = grpc.insecure_channel(INBOUND, options=(("grpc.http_proxy", f"http://{OUTBOUND}"),))
        grpc.channel_ready_future(cls.channel).result(20)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.server.stop(0).wait()

    def setUp(self):
        while not self.app.seen.empty():
            self.app.seen.get()

    def unary(self, name):
        return self.channel.unary_unary(f"/shop.Orders/{name}")

    def test_a_gid_in_the_metadata_arrives_in_every_carrier_and_trailers_come_back(self):
        answer, call = self.unary("Place").with_call(b"order", metadata=(("atomesh-gid", GID),), timeout=20)
        self.assertEqual(answer, b"order")
        seen = self.app.seen.get(timeout=5)
        self.assertEqual(seen["atomesh-gid"], GID)
        self.assertEqual(seen["tracestate"], f"atomesh=g:{GID}")
        self.assertEqual(dict(call.trailing_metadata())["x-served"], "yes")

    def test_a_method_on_a_route_begins_and_its_ok_commits(self):
        answer, call = self.unary("Place").with_call(b"order", timeout=20)
        self.assertEqual(answer, b"order")
        head = dict(call.initial_metadata())
        self.assertEqual(head["atomesh-outcome"], "committed")
        self.assertEqual(head["atomesh-gid"], self.app.seen.get(timeout=5)["atomesh-gid"])

    def test_its_failure_rolls_back_and_is_passed_on(self):
        with self.assertRaises(grpc.RpcError) as failed:
            self.unary("Fail")(b"order", timeout=20)
        error = failed.exception
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.ABORTED, "sold out"))
        told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
        self.assertEqual(told["atomesh-outcome"], "rolled-back")

    def test_a_deadline_reaches_the_server_and_ends_the_call_there(self):
        with self.assertRaises(grpc.RpcError) as failed:
            self.unary("Hang")(b"", timeout=0.7)
        self.assertEqual(failed.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        was_told, remaining = self.app.left.get(timeout=15)
        self.assertTrue(was_told)
        self.assertLess(remaining, 0.8)

    def test_a_cancellation_reaches_the_server(self):
        self.app.hanging = queue.Queue()
        call = self.unary("Hang").future(b"", timeout=20)
        self.app.hanging.get(timeout=5)  # before, the library would not call the method at all
        call.cancel()
        self.assertTrue(self.app.left.get(timeout=15)[0])

    def test_a_stream_that_begins_late_has_the_time_that_its_caller_gives_it(self):
        messages = self.channel.unary_stream("/shop.Reports/Late")(b"", timeout=20)
        self.assertEqual(list(messages), [b"1", b"2"])

    def test_both_sides_stream_at_once(self):
        parts = [str(number).encode() * 1000 for number in range(50)]
        messages = self.channel.stream_stream("/shop.Reports/Talk")(iter(parts), timeout=20)
        self.assertEqual(list(messages), parts)


if __name__ == "__main__":
    unittest.main()
