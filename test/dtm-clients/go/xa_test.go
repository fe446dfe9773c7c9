package dtmclients

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type xaOf struct {
	run func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error
	// serve does the work of a branch: its local transaction, or what the coordinator has decided about it.
	serve func(db *database, r *request, work func(tx *sql.DB) error) error
}

var xas = map[string]xaOf{
	"HTTP": {
		run: func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error {
			return dtmcli.XaGlobalTransaction2(dtmHTTP, gid, func(xa *dtmcli.Xa) { options(&xa.TransBase) }, func(xa *dtmcli.Xa) (*resty.Response, error) {
				return nil, work(func(step string) error {
					_, err := xa.CallBranch(transfer{amount}, bank.url(step))
					return err
				})
			})
		},
		serve: func(db *database, r *request, work func(tx *sql.DB) error) error {
			return dtmcli.XaLocalTransaction(r.Values, db.conf, func(tx *sql.DB, _ *dtmcli.Xa) error { return work(tx) })
		},
	},
	"GRPC": {
		run: func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error {
			return dtmgrpc.XaGlobalTransaction2(dtmGRPC, gid, func(xa *dtmgrpc.XaGrpc) { options(&xa.TransBase) }, func(xa *dtmgrpc.XaGrpc) error {
				return work(func(step string) error {
					return xa.CallBranch(wrapperspb.Int64(amount), bank.url(step), &emptypb.Empty{})
				})
			})
		},
		serve: func(db *database, r *request, work func(tx *sql.DB) error) error {
			return dtmgrpc.XaLocalTransaction(r.ctx, db.conf, func(tx *sql.DB, _ *dtmgrpc.XaGrpc) error { return work(tx) })
		},
	},
}

// eachXa runs a test with a bank in PostgreSQL and a shop in MariaDB: Out takes from one account, In gives to the other.
func eachXa(t *testing.T, balance int, test func(t *testing.T, run func(options func(*dtmimp.TransBase), work func(call branchCall) error) (string, error), balances func() string)) {
	t.Parallel()
	for name, xa := range xas {
		name, xa := name, xa
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payer, payee := postgres.account(t, balance), mariadb.account(t, 0)
			bank := newService(t, name == "GRPC")
			bank.on("Out", func(r *request) error {
				return xa.serve(postgres, r, func(tx *sql.DB) error { return adjust(tx, payer, -amount) })
			})
			bank.on("In", func(r *request) error {
				return xa.serve(mariadb, r, func(tx *sql.DB) error { return adjust(tx, payee, amount) })
			})
			run := func(options func(*dtmimp.TransBase), work func(call branchCall) error) (string, error) {
				gid := dtmcli.MustGenGid(dtmHTTP)
				return gid, xa.run(bank, gid, options, work)
			}
			test(t, run, func() string {
				return fmt.Sprintf("%d %d", postgres.balance(t, payer), mariadb.balance(t, payee))
			})
		})
	}
}

func TestXaCommitsInBothDatabases(t *testing.T) {
	eachXa(t, 100, func(t *testing.T, run func(func(*dtmimp.TransBase), func(branchCall) error) (string, error), balances func() string) {
		gid, err := run(waiting, func(call branchCall) error {
			must(t, call("Out"))
			expect(t, "the balances before the commit", balances(), "100 0")
			return call("In")
		})
		must(t, err)
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
		expect(t, "the balances", balances(), "70 30")
	})
}

func TestXaRollsBackInBothDatabases(t *testing.T) {
	eachXa(t, 100, func(t *testing.T, run func(func(*dtmimp.TransBase), func(branchCall) error) (string, error), balances func() string) {
		gid, err := run(patience, func(call branchCall) error {
			must(t, inTurn(call, "Out", "In"))
			return fmt.Errorf("the customer has gone. %w", dtmcli.ErrFailure)
		})
		mustFailWith(t, err, "the customer has gone")
		ended(t, gid, dtmcli.StatusFailed)
		expect(t, "the balances", balances(), "100 0")
	})
}

func TestXaRollsBackWhenADatabaseRefuses(t *testing.T) {
	eachXa(t, amount-1, func(t *testing.T, run func(func(*dtmimp.TransBase), func(branchCall) error) (string, error), balances func() string) {
		gid, err := run(patience, func(call branchCall) error { return inTurn(call, "In", "Out") })
		if err == nil {
			t.Fatal("a balance may be negative")
		}
		ended(t, gid, dtmcli.StatusFailed)
		expect(t, "the balances", balances(), "29 0")
	})
}

func TestXaOfAnInitiatorThatIsGoneIsRolledBack(t *testing.T) {
	eachXa(t, 100, func(t *testing.T, run func(func(*dtmimp.TransBase), func(branchCall) error) (string, error), balances func() string) {
		gid := ""
		_, err := run(func(base *dtmimp.TransBase) { base.TimeoutToFail, gid = 2, base.Gid }, func(call branchCall) error {
			must(t, inTurn(call, "Out", "In"))
			ended(t, gid, dtmcli.StatusFailed)
			return nil
		})
		mustFailWith(t, err, "cannot sumbmit")
		expect(t, "the balances", balances(), "100 0")
	})
}
