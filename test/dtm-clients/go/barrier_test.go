package dtmclients

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
)

// eachDatabase runs a test in PostgreSQL and MariaDB.
func eachDatabase(t *testing.T, test func(t *testing.T, db *database)) {
	t.Parallel()
	for name, db := range map[string]*database{"PostgreSQL": postgres, "MariaDB": mariadb} {
		name, db := name, db
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, db)
		})
	}
}

// moving does a branch operation behind the barrier.
func moving(db *database, account string, amount int) handler {
	return func(r *request) error {
		return db.barrier(r.Values).CallWithDB(db.DB, func(tx *sql.Tx) error { return adjust(tx, account, amount) })
	}
}

// thenOutage does the work, and has its answer lost the first time.
func thenOutage(work handler) handler {
	return func(r *request) error {
		if err := work(r); err != nil || r.number > 1 {
			return err
		}
		return errOutage
	}
}

func soon(base *dtmimp.TransBase) { base.RetryInterval = 1 }

func TestBarrierTakesEffectOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *database) {
		payer, payee := db.account(t, 100), db.account(t, 0)
		bank := newHTTPService(t).on("Out", thenOutage(moving(db, payer, -amount))).on("In", thenOutage(moving(db, payee, amount)))
		s, gid := httpSaga(bank, nil, soon, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Out", "In", "In")
		expect(t, "the payer's balance", db.balance(t, payer), 70)
		expect(t, "the payee's balance", db.balance(t, payee), 30)
		expectList(t, "the barrier", db.rows(t, gid), "01 action action", "02 action action")
	})
}

func TestBarrierUndoesOnlyWhatHasTakenEffect(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *database) {
		payer, payee := db.account(t, 10), db.account(t, 0)
		// The payer is short of money: In has taken effect, Out has not, and both are compensated.
		bank := newHTTPService(t).on("In", moving(db, payee, amount)).on("InRevert", thenOutage(moving(db, payee, -amount))).
			on("Out", moving(db, payer, -amount)).on("OutRevert", moving(db, payer, amount))
		s, gid := httpSaga(bank, nil, soon, "In", "Out")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "In", "Out", "OutRevert", "InRevert", "InRevert")
		expect(t, "the payer's balance", db.balance(t, payer), 10)
		expect(t, "the payee's balance", db.balance(t, payee), 0)
		expectList(t, "the barrier", db.rows(t, gid),
			"01 action action", "01 compensate compensate", "02 action compensate", "02 compensate compensate")
	})
}

func TestBarrierOfTccOverGRPC(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *database) {
		payer, gid := db.account(t, 100), dtmcli.MustGenGid(dtmHTTP)
		bank := newGRPCService(t).on("OutTry", moving(db, payer, -amount)).on("OutCancel", moving(db, payer, amount)).
			on("InTry", always(dtmcli.ErrFailure)).on("InCancel", moving(db, payer, 1000))
		err := tccs["GRPC"].run(bank, gid, patience, func(call branchCall) error { return inTurn(call, "Out", "In") })
		mustFailWith(t, err, "FAILURE")
		ended(t, gid, dtmcli.StatusFailed)
		expect(t, "the balance", db.balance(t, payer), 100)
		expectList(t, "the barrier", db.rows(t, gid), "01 cancel cancel", "01 try try", "02 cancel cancel", "02 try cancel")
	})
}

func TestBarrierInRedisTakesEffectOnce(t *testing.T) {
	t.Parallel()
	stock := "stock-" + dtmcli.MustGenGid(dtmHTTP)
	must(t, redisDB.Set(redisDB.Context(), stock, 10, 0).Err())
	adjustStock := func(amount int) handler {
		return func(r *request) error {
			return postgres.barrier(r.Values).RedisCheckAdjustAmount(redisDB, stock, amount, 86400)
		}
	}
	shop := newHTTPService(t).on("Take", thenOutage(adjustStock(-3))).on("TakeRevert", adjustStock(3)).
		on("Order", atFirst()).on("OrderRevert", atFirst())
	s, gid := httpSaga(shop, nil, soon, "Take", "Order")
	must(t, s.Submit())
	ended(t, gid, dtmcli.StatusSucceed)
	expect(t, "the stock", redisDB.Get(redisDB.Context(), stock).Val(), "7")
	shop.on("Order", always(dtmcli.ErrFailure))
	s, gid = httpSaga(shop, nil, soon, "Take", "Order")
	must(t, s.Submit())
	ended(t, gid, dtmcli.StatusFailed)
	expect(t, "the stock after a failure", redisDB.Get(redisDB.Context(), stock).Val(), "7")
}

// callParticipant calls the service in TypeScript as the coordinator would.
func callParticipant(t *testing.T, qs url.Values, name string, amount int) int {
	body, err := json.Marshal(map[string]interface{}{"name": name, "amount": amount})
	must(t, err)
	response, err := http.Post(participant+"/?"+qs.Encode(), "application/json", bytes.NewReader(body))
	must(t, err)
	must(t, response.Body.Close())
	return response.StatusCode
}

func branchQuery(gid, op string) url.Values {
	return url.Values{"gid": {gid}, "trans_type": {"saga"}, "branch_id": {"01"}, "op": {op}}
}

func TestBarrierSharesItsTableWithAtomesh(t *testing.T) {
	t.Parallel()
	inGo := func(t *testing.T, gid, op, name string, amount int) {
		must(t, postgres.barrier(branchQuery(gid, op)).CallWithDB(postgres.DB, func(tx *sql.Tx) error { return adjust(tx, name, amount) }))
	}
	inTypeScript := func(t *testing.T, gid, op, name string, amount int) {
		expect(t, "the answer", callParticipant(t, branchQuery(gid, op), name, amount), http.StatusOK)
	}
	type service func(t *testing.T, gid, op, name string, amount int)
	for name, order := range map[string][2]service{"Go first": {inGo, inTypeScript}, "TypeScript first": {inTypeScript, inGo}} {
		name, first, second := name, order[0], order[1]
		t.Run(name, func(t *testing.T) {
			gid, account := dtmcli.MustGenGid(dtmHTTP), postgres.account(t, 100)
			first(t, gid, "action", account, -amount)
			second(t, gid, "action", account, -amount)
			expect(t, "the balance after both have done it", postgres.balance(t, account), 70)
			second(t, gid, "compensate", account, amount)
			first(t, gid, "compensate", account, amount)
			expect(t, "the balance after both have undone it", postgres.balance(t, account), 100)
			expectList(t, "the barrier", postgres.rows(t, gid), "01 action action", "01 compensate compensate")
		})
		t.Run(name+", undone before it is done", func(t *testing.T) {
			gid, account := dtmcli.MustGenGid(dtmHTTP), postgres.account(t, 100)
			first(t, gid, "compensate", account, amount)
			second(t, gid, "compensate", account, amount)
			expect(t, "the balance", postgres.balance(t, account), 100)
			expectList(t, "the barrier", postgres.rows(t, gid), "01 action compensate", "01 compensate compensate")
		})
	}
	t.Run("an action after Go has undone it is refused", func(t *testing.T) {
		gid, account := dtmcli.MustGenGid(dtmHTTP), postgres.account(t, 100)
		inGo(t, gid, "compensate", account, amount)
		expect(t, "the answer", callParticipant(t, branchQuery(gid, "action"), account, -amount), http.StatusConflict)
		expect(t, "the balance", postgres.balance(t, account), 100)
	})
	t.Run("an action after TypeScript has undone it has no effect", func(t *testing.T) {
		gid, account := dtmcli.MustGenGid(dtmHTTP), postgres.account(t, 100)
		inTypeScript(t, gid, "compensate", account, amount)
		inGo(t, gid, "action", account, -amount)
		expect(t, "the balance", postgres.balance(t, account), 100)
	})
	t.Run("one saga with branches of both", func(t *testing.T) {
		payer, payee := postgres.account(t, 100), postgres.account(t, 0)
		bank := newHTTPService(t).on("Out", moving(postgres, payer, -amount)).on("OutRevert", moving(postgres, payer, amount))
		s := dtmcli.NewSaga(dtmHTTP, dtmcli.MustGenGid(dtmHTTP)).
			Add(bank.url("Out"), bank.url("OutRevert"), transfer{amount}).
			Add(participant, participant, map[string]interface{}{"name": payee, "amount": amount})
		s.WaitResult = true
		must(t, s.Submit())
		expect(t, "the balances", fmt.Sprint(postgres.balance(t, payer), postgres.balance(t, payee)), "70 30")
		expectList(t, "the barrier", postgres.rows(t, s.Gid), "01 action action", "02 action action")
	})
}
