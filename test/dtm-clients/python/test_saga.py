"""Sagas of DTM's Python client."""

from dtmcli import saga, utils

from world import DTM, TRANSFER, Ongoing, Outage, TestCase, always, at_first, moving, then_outage


class SagaTest(TestCase):
    def saga(self, bank, *steps, **options):
        made = saga.Saga(DTM, self.new_gid())
        for step in steps:
            made.add(TRANSFER, bank.url(step), bank.url(step + "Revert"))
        for name, value in options.items():
            setattr(made.trans_base, name, value)
        return made, made.trans_base.gid

    def test_succeeds(self):
        seen = []
        bank = self.service(Out=lambda request: seen.append((request.body, request.query)))
        made, gid = self.saga(bank, "Out", "In")
        made.submit()
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["Out", "In"])
        query = {"gid": gid, "trans_type": "saga", "branch_id": "01", "op": "action"}
        self.assertEqual(seen, [(TRANSFER, query)])

    def test_is_compensated_in_reverse(self):
        bank = self.service(In=always(utils.DTMFailureError("no such account")))
        made, gid = self.saga(bank, "Out", "In")
        made.submit()
        self.assert_ends(gid, "failed")
        self.assertEqual(bank.calls, ["Out", "In", "InRevert", "OutRevert"])

    def test_asks_again_while_a_branch_is_ongoing_or_in_trouble(self):
        bank = self.service(Out=at_first(Ongoing()), In=at_first(Outage()))
        made, gid = self.saga(bank, "Out", "In", retry_interval=1)
        made.submit()
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["Out", "Out", "In", "In"])

    def test_says_that_it_has_succeeded(self):
        made, gid = self.saga(self.service(), "Out", "In", wait_result=True)
        made.submit()
        self.assertEqual(self.status(gid), "succeed")

    def test_says_that_it_has_failed(self):
        bank = self.service(In=always(utils.DTMFailureError("no such account")))
        made, gid = self.saga(bank, "Out", "In", wait_result=True)
        with self.assertRaises(utils.DTMFailureError):
            made.submit()
        self.assert_ends(gid, "failed")

    def test_that_is_not_done_is_no_failure(self):
        made, gid = self.saga(self.service(Out=at_first(Ongoing())), "Out", wait_result=True, retry_interval=1)
        try:
            made.submit()
        except Exception as error:
            self.assertNotIsInstance(error, utils.DTMFailureError)
        self.assert_ends(gid, "succeed")

    def test_sends_its_headers_to_its_branches(self):
        tenants = []
        bank = self.service(Out=lambda request: tenants.append(request.headers["x-tenant"]))
        made, _ = self.saga(bank, "Out", wait_result=True, branch_headers={"x-tenant": "blue"})
        made.submit()
        self.assertEqual(tenants, ["blue"])

    def test_takes_effect_once_behind_the_barrier(self):
        payer, payee = self.account(100), self.account(0)
        bank = self.service(Out=then_outage(moving(payer, -30)), In=then_outage(moving(payee, 30)))
        made, gid = self.saga(bank, "Out", "In", retry_interval=1)
        made.submit()
        self.assert_ends(gid, "succeed")
        self.assertEqual(bank.calls, ["Out", "Out", "In", "In"])
        self.assertEqual((self.balance(payer), self.balance(payee)), (70, 30))

    def test_undoes_only_what_has_taken_effect(self):
        payer, payee = self.account(10), self.account(0)
        bank = self.service(
            In=moving(payee, 30),
            InRevert=then_outage(moving(payee, -30)),
            Out=moving(payer, -30),
            OutRevert=moving(payer, 30),
        )
        made, gid = self.saga(bank, "In", "Out", retry_interval=1)
        made.submit()
        self.assert_ends(gid, "failed")
        self.assertEqual(bank.calls, ["In", "Out", "OutRevert", "InRevert", "InRevert"])
        self.assertEqual((self.balance(payer), self.balance(payee)), (10, 0))
        self.assertEqual(
            self.rows(gid),
            ["01 action action", "01 compensate compensate", "02 action compensate", "02 compensate compensate"],
        )
