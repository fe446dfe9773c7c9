package dtmclients

import (
	"fmt"
	"testing"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// branchCall tries one branch: "Out" calls OutTry, and OutConfirm or OutCancel at the end.
type branchCall func(step string) error

type tccOf struct {
	run    func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error
	nested func(bank *service, r *request, step string) error
}

var tccs = map[string]tccOf{
	"HTTP": {
		run: func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error {
			return dtmcli.TccGlobalTransaction2(dtmHTTP, gid, func(tcc *dtmcli.Tcc) { options(&tcc.TransBase) }, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
				return nil, work(func(step string) error { return tryHTTP(tcc, bank, step) })
			})
		},
		nested: func(bank *service, r *request, step string) error {
			tcc, err := dtmcli.TccFromQuery(r.Values)
			if err != nil {
				return err
			}
			return tryHTTP(tcc, bank, step)
		},
	},
	"GRPC": {
		run: func(bank *service, gid string, options func(*dtmimp.TransBase), work func(call branchCall) error) error {
			return dtmgrpc.TccGlobalTransaction2(dtmGRPC, gid, func(tcc *dtmgrpc.TccGrpc) { options(&tcc.TransBase) }, func(tcc *dtmgrpc.TccGrpc) error {
				return work(func(step string) error { return tryGRPC(tcc, bank, step) })
			})
		},
		nested: func(bank *service, r *request, step string) error {
			tcc, err := dtmgrpc.TccFromGrpc(r.ctx)
			if err != nil {
				return err
			}
			return tryGRPC(tcc, bank, step)
		},
	},
}

func tryHTTP(tcc *dtmcli.Tcc, bank *service, step string) error {
	_, err := tcc.CallBranch(transfer{amount}, bank.url(step+"Try"), bank.url(step+"Confirm"), bank.url(step+"Cancel"))
	return err
}

func tryGRPC(tcc *dtmgrpc.TccGrpc, bank *service, step string) error {
	err := tcc.CallBranch(wrapperspb.Int64(amount), bank.url(step+"Try"), bank.url(step+"Confirm"), bank.url(step+"Cancel"), &emptypb.Empty{})
	return dtmgrpc.GrpcError2DtmError(err)
}

func eachTcc(t *testing.T, test func(t *testing.T, tcc tccOf, bank *service, gid string)) {
	t.Parallel()
	for name, tcc := range tccs {
		name, tcc := name, tcc
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tcc, newService(t, name == "GRPC"), dtmcli.MustGenGid(dtmHTTP))
		})
	}
}

func inTurn(call branchCall, steps ...string) error {
	for _, step := range steps {
		if err := call(step); err != nil {
			return err
		}
	}
	return nil
}

func TestTccIsConfirmedInReverse(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		bank.on("OutConfirm", func(r *request) error {
			if r.amount != amount || r.Get("op") != "confirm" || r.Get("branch_id") != "01" || r.Get("trans_type") != "tcc" {
				return fmt.Errorf("%v %d", r.Values, r.amount)
			}
			return nil
		})
		must(t, tcc.run(bank, gid, patience, func(call branchCall) error { return inTurn(call, "Out", "In") }))
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "OutTry", "InTry", "InConfirm", "OutConfirm")
	})
}

func TestTccIsCancelledWhenATryFails(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		bank.on("InTry", always(dtmcli.ErrFailure))
		err := tcc.run(bank, gid, patience, func(call branchCall) error { return inTurn(call, "Out", "In") })
		mustFailWith(t, err, "FAILURE")
		ended(t, gid, dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "OutTry", "InTry", "InCancel", "OutCancel")
	})
}

func TestTccWaitsForItsResult(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		must(t, tcc.run(bank, gid, waiting, func(call branchCall) error { return inTurn(call, "Out", "In") }))
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
		expect(t, "the number of calls", len(bank.called()), 4)
	})
}

func TestTccIsConfirmedUntilEveryBranchHasSucceeded(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		bank.on("OutConfirm", atFirst(errOutage, dtmcli.ErrOngoing))
		options := func(base *dtmimp.TransBase) { base.RetryInterval = 1 }
		must(t, tcc.run(bank, gid, options, func(call branchCall) error { return inTurn(call, "Out") }))
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "OutTry", "OutConfirm", "OutConfirm", "OutConfirm")
	})
}

func TestTccMayBeNested(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		bank.on("OutTry", func(r *request) error { return tcc.nested(bank, r, "Fee") })
		must(t, tcc.run(bank, gid, waiting, func(call branchCall) error { return inTurn(call, "Out", "In") }))
		expectList(t, "calls", bank.called(), "OutTry", "FeeTry", "InTry", "InConfirm", "FeeConfirm", "OutConfirm")
	})
}

func TestTccOfAnInitiatorThatIsGoneIsCancelled(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		// The initiator hangs until the coordinator has cancelled without it; its submit comes too late.
		options := func(base *dtmimp.TransBase) { base.TimeoutToFail = 2 }
		err := tcc.run(bank, gid, options, func(call branchCall) error {
			must(t, call("Out"))
			ended(t, gid, dtmcli.StatusFailed)
			return nil
		})
		mustFailWith(t, err, "cannot sumbmit")
		expectList(t, "calls", bank.called(), "OutTry", "OutCancel")
	})
}

func TestTccMayBeSubmittedAgain(t *testing.T) {
	eachTcc(t, func(t *testing.T, tcc tccOf, bank *service, gid string) {
		release := make(chan struct{})
		bank.on("OutConfirm", func(*request) error {
			<-release
			return nil
		})
		must(t, tcc.run(bank, gid, patience, func(call branchCall) error { return inTurn(call, "Out") }))
		// The reply was lost, say.
		again := dtmimp.NewTransBase(gid, "tcc", dtmHTTP, "")
		must(t, dtmimp.TransCallDtm(again, "submit"))
		close(release)
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "OutTry", "OutConfirm")
	})
}
