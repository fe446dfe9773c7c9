"""Two-phase messages of DTM's Python client."""

import os
import subprocess
import sys
import unittest

from dtmcli import msg, utils

from world import DTM, TRANSFER, Outage, TestCase, adjust, always, at_first, cursor

CRASH = 3


class MessageTest(TestCase):
    def message(self, bank, *steps, **options):
        made = msg.Msg(DTM, self.new_gid())
        for step in steps:
            made.add(TRANSFER, bank.url(step))
        for name, value in options.items():
            setattr(made.trans_base, name, value)
        return made, made.trans_base.gid

    def bank(self, **handlers):
        def query(request):
            with cursor() as tx:
                request.barrier().query_prepared(tx)

        return self.service(Query=query, **handlers)

    def test_is_delivered_until_it_is_taken(self):
        bank = self.bank(Out=at_first(Outage(), utils.DTMFailureError()))
        made, gid = self.message(bank, "Out", "In", retry_interval=1)
        made.prepare(bank.url("Query"))
        self.assertEqual(self.status(gid), "prepared")
        made.submit()
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["Out", "Out", "Out", "In"])

    def test_waits_for_its_result(self):
        made, gid = self.message(self.bank(), "Out")
        made.set_wait_result().submit()
        self.assertEqual(self.status(gid), "succeed")

    def test_is_sent_with_the_local_transaction(self):
        payer, bank = self.account(100), self.bank()
        made, gid = self.message(bank, "In")
        with cursor() as tx:
            made.do_and_submit_db(bank.url("Query"), tx, adjust(payer, -30))
        self.assert_ends(gid, "succeed")
        self.assertEqual((self.balance(payer), bank.calls, self.rows(gid)), (70, ["In"], ["00 msg msg"]))

    def test_is_not_sent_when_the_local_transaction_fails(self):
        payer, bank = self.account(10), self.bank()
        made, gid = self.message(bank, "In")
        with cursor() as tx, self.assertRaises(utils.DTMFailureError):
            made.do_and_submit_db(bank.url("Query"), tx, adjust(payer, -30))
        self.assert_ends(gid, "failed")
        self.assertEqual((self.balance(payer), bank.calls), (10, []))

    def test_is_not_sent_when_nothing_was_committed(self):
        bank = self.bank()
        made, gid = self.message(bank, "In")
        with cursor() as tx, self.assertRaises(Outage):
            made.do_and_submit_db(bank.url("Query"), tx, always(Outage()))
        self.assert_ends(gid, "failed")
        self.assertEqual((bank.calls, self.rows(gid)), (["Query"], ["00 msg rollback"]))

    def crash(self, when, bank, payer):
        """A sender in a process of its own, which ends before or after its commit."""
        gid = self.new_gid()
        arguments = [when, gid, payer, bank.url("Query"), bank.url("In")]
        ended = subprocess.run([sys.executable, "-B", __file__, *arguments], env=os.environ, timeout=60)
        self.assertEqual(ended.returncode, CRASH)
        return gid

    def test_of_a_sender_that_crashed_after_its_commit_is_delivered(self):
        bank, payer = self.bank(), self.account(100)
        gid = self.crash("after", bank, payer)
        self.assert_ends(gid, "succeed")
        self.assertEqual((self.balance(payer), bank.calls), (70, ["Query", "In"]))

    def test_of_a_sender_that_crashed_before_its_commit_is_dropped(self):
        bank, payer = self.bank(), self.account(100)
        gid = self.crash("before", bank, payer)
        self.assert_ends(gid, "failed")
        self.assertEqual((self.balance(payer), bank.calls), (100, ["Query"]))


def send_and_crash(when, gid, payer, query_prepared, action):
    made = msg.Msg(DTM, gid).add(TRANSFER, action)
    made.trans_base.timeout_to_fail = 2

    def local_transaction(barrier):
        with cursor() as tx:

            def work(tx):
                adjust(payer, -30)(tx)
                if when == "before":
                    os._exit(CRASH)

            barrier.call(tx, work)
            os._exit(CRASH)

    made.do_and_submit(query_prepared, local_transaction)


if __name__ == "__main__" and len(sys.argv) > 2:
    send_and_crash(*sys.argv[1:])
elif __name__ == "__main__":
    unittest.main()
