"""TCC transactions of DTM's Python client."""

from dtmcli import tcc, utils

from world import DTM, TRANSFER, Outage, TestCase, always, at_first, moving


class TccTest(TestCase):
    def call(self, transaction, bank, step):
        transaction.call_branch(TRANSFER, *(bank.url(step + phase) for phase in ("Try", "Confirm", "Cancel")))

    def run_steps(self, bank, *steps):
        """Runs a transaction with these steps; answers what the client returns, and the gid."""
        gid = self.new_gid()

        def work(transaction):
            for step in steps:
                self.call(transaction, bank, step)

        return tcc.tcc_global_transaction(DTM, gid, work), gid

    def test_is_confirmed(self):
        seen = []
        bank = self.service(OutConfirm=lambda request: seen.append((request.body, request.query)))
        returned, gid = self.run_steps(bank, "Out", "In")
        self.assertEqual(returned, gid)
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["OutTry", "InTry", "InConfirm", "OutConfirm"])
        query = {"gid": gid, "trans_type": "tcc", "branch_id": "01", "op": "confirm"}
        self.assertEqual(seen, [(TRANSFER, query)])

    def test_is_cancelled_when_a_try_fails(self):
        bank = self.service(InTry=always(utils.DTMFailureError("no such account")))
        returned, gid = self.run_steps(bank, "Out", "In")
        self.assertEqual(returned, "")
        self.assert_ends(gid, "failed")
        self.assertEqual(bank.calls, ["OutTry", "InTry", "InCancel", "OutCancel"])

    def test_is_confirmed_until_it_succeeds(self):
        bank = self.service(OutConfirm=at_first(Outage()))
        _, gid = self.run_steps(bank, "Out")
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["OutTry", "OutConfirm", "OutConfirm"])

    def test_may_be_nested(self):
        def nested(request):
            inner = tcc.tcc_from_req(DTM, request.query["gid"], request.query["branch_id"])
            self.call(inner, bank, "Fee")

        bank = self.service(OutTry=nested)
        _, gid = self.run_steps(bank, "Out", "In")
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["OutTry", "FeeTry", "InTry", "InConfirm", "FeeConfirm", "OutConfirm"])

    def test_undoes_only_what_has_taken_effect(self):
        payer = self.account(100)
        bank = self.service(
            OutTry=moving(payer, -30),
            OutCancel=moving(payer, 30),
            InTry=always(utils.DTMFailureError("no such account")),
            InCancel=moving(payer, 1000),
        )
        _, gid = self.run_steps(bank, "Out", "In")
        self.assert_ends(gid, "failed")
        self.assertEqual(self.balance(payer), 100)
        self.assertEqual(self.rows(gid), ["01 cancel cancel", "01 try try", "02 cancel cancel", "02 try cancel"])
