package dtmclients

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// saga is what the client's types for HTTP and gRPC have in common.
type saga interface {
	Submit() error
}

// sagaOf makes a saga of these steps: "Out" calls Out and OutRevert. The options are those of either type.
type sagaOf func(bank *service, orders map[int][]int, options func(*dtmimp.TransBase), steps ...string) (saga, string)

func httpSaga(bank *service, orders map[int][]int, options func(*dtmimp.TransBase), steps ...string) (saga, string) {
	s := dtmcli.NewSaga(dtmHTTP, dtmcli.MustGenGid(dtmHTTP))
	for _, step := range steps {
		s.Add(bank.url(step), bank.url(step+"Revert"), transfer{amount})
	}
	for branch, before := range orders {
		s.SetConcurrent().AddBranchOrder(branch, before)
	}
	options(&s.TransBase)
	return s, s.Gid
}

func jsonRPCSaga(bank *service, orders map[int][]int, options func(*dtmimp.TransBase), steps ...string) (saga, string) {
	return httpSaga(bank, orders, func(base *dtmimp.TransBase) {
		options(base)
		base.Protocol, base.Dtm = dtmimp.Jrpc, dtmJSONRPC
	}, steps...)
}

func grpcSaga(bank *service, orders map[int][]int, options func(*dtmimp.TransBase), steps ...string) (saga, string) {
	s := dtmgrpc.NewSagaGrpc(dtmGRPC, dtmgrpc.MustGenGid(dtmGRPC))
	for _, step := range steps {
		s.Add(bank.url(step), bank.url(step+"Revert"), wrapperspb.Int64(amount))
	}
	for branch, before := range orders {
		s.EnableConcurrent().AddBranchOrder(branch, before)
	}
	options(&s.TransBase)
	return s, s.Gid
}

// The protocols that a saga can be submitted by.
var sagas = map[string]struct {
	of     sagaOf
	isGRPC bool
}{
	"HTTP":     {httpSaga, false},
	"JSON-RPC": {jsonRPCSaga, false},
	"GRPC":     {grpcSaga, true},
}

// eachSaga runs a test for every protocol, side by side.
func eachSaga(t *testing.T, test func(t *testing.T, of sagaOf, bank *service)) {
	t.Parallel()
	for name, protocol := range sagas {
		name, protocol := name, protocol
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, protocol.of, newService(t, protocol.isGRPC))
		})
	}
}

func waiting(base *dtmimp.TransBase)  { base.WaitResult = true }
func patience(base *dtmimp.TransBase) {}

func TestSagaSucceeds(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("Out", func(r *request) error {
			if r.amount != amount || r.Get("op") != "action" || r.Get("branch_id") != "01" || r.Get("trans_type") != "saga" {
				return fmt.Errorf("%v %d", r.Values, r.amount)
			}
			return nil
		})
		s, gid := of(bank, nil, patience, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "In")
	})
}

func TestSagaIsCompensatedInReverse(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("In", always(fmt.Errorf("no such account. %w", dtmcli.ErrFailure)))
		s, gid := of(bank, nil, patience, "Out", "Fee", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "Out", "Fee", "In", "InRevert", "FeeRevert", "OutRevert")
		if reason := query(gid).Transaction.RollbackReason; !strings.Contains(reason, "no such account") {
			t.Fatalf("the reason is %q", reason)
		}
	})
}

func TestSagaSaysItsResult(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		good, gid := of(bank, nil, waiting, "Out")
		must(t, good.Submit())
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
		bank.on("In", always(fmt.Errorf("no such account. %w", dtmcli.ErrFailure)))
		bad, gid := of(bank, nil, waiting, "Out", "In")
		mustFailWith(t, bad.Submit(), "no such account")
		ended(t, gid, dtmcli.StatusFailed)
	})
}

func TestSagaThatIsNotDoneIsNoFailure(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("Out", atFirst(dtmcli.ErrOngoing))
		s, gid := of(bank, nil, waiting, "Out")
		if err := s.Submit(); err != nil && strings.Contains(err.Error(), dtmcli.ResultFailure) {
			t.Fatal(err)
		}
		ended(t, gid, dtmcli.StatusSucceed)
	})
}

func TestSagaAsksAgainWhileABranchIsOngoingOrInTrouble(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("Out", atFirst(dtmcli.ErrOngoing)).on("In", atFirst(errOutage))
		s, gid := of(bank, nil, func(base *dtmimp.TransBase) { base.RetryInterval = 1 }, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Out", "In", "In")
	})
}

func TestSagaRepeatsACompensationUntilItSucceeds(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("In", always(dtmcli.ErrFailure)).on("OutRevert", atFirst(errOutage))
		s, gid := of(bank, nil, func(base *dtmimp.TransBase) { base.RetryInterval = 1 }, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "Out", "In", "InRevert", "OutRevert", "OutRevert")
	})
}

func TestSagaKeepsItsOrders(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		// Both first steps are under way at once, or this never ends.
		both := sync.WaitGroup{}
		both.Add(2)
		meet := func(*request) error {
			both.Done()
			both.Wait()
			return nil
		}
		bank.on("A", meet).on("B", meet)
		s, gid := of(bank, map[int][]int{2: {0, 1}, 3: {2}}, waiting, "A", "B", "C", "D")
		must(t, s.Submit())
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
		expectList(t, "calls after the first two", bank.called()[2:], "C", "D")
	})
}

func TestSagaUndoesConcurrentStepsAgainstTheirOrders(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("C", always(dtmcli.ErrFailure))
		s, gid := of(bank, map[int][]int{1: {0}, 2: {1}}, patience, "A", "B", "C")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "A", "B", "C", "CRevert", "BRevert", "ARevert")
	})
}

func TestSagaSendsItsHeadersToItsBranches(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		tenant := make(chan string, 1)
		bank.on("Out", func(r *request) error {
			tenant <- r.header("x-tenant")
			return nil
		})
		s, _ := of(bank, nil, func(base *dtmimp.TransBase) {
			base.WaitResult, base.BranchHeaders = true, map[string]string{"x-tenant": "blue"}
		}, "Out")
		must(t, s.Submit())
		expect(t, "the header", <-tenant, "blue")
	})
}

func TestSagaGivesUpAfterItsTimeout(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("In", always(dtmcli.ErrOngoing))
		s, gid := of(bank, nil, func(base *dtmimp.TransBase) { base.TimeoutToFail, base.RetryInterval = 2, 1 }, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
		calls := bank.called()
		expectList(t, "the last calls", calls[len(calls)-2:], "InRevert", "OutRevert")
	})
}

func TestSagaGivesUpAfterItsRetryLimit(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		bank.on("In", always(errOutage))
		s, gid := of(bank, nil, func(base *dtmimp.TransBase) {
			base.RetryInterval = 1
			base.WithRetryLimit(1)
		}, "Out", "In")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusFailed)
	})
}

func TestSagaWaitsAsLongAsItsRequestTimeoutSays(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		// The first call is given up after two seconds; the service is asked again, and answers at once.
		bank.on("Out", func(r *request) error {
			if r.number == 1 {
				time.Sleep(2500 * time.Millisecond)
			}
			return nil
		})
		s, gid := of(bank, nil, func(base *dtmimp.TransBase) { base.RequestTimeout, base.RetryInterval = 2, 1 }, "Out")
		must(t, s.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Out")
	})
}

func TestSagaMayBeSubmittedAgain(t *testing.T) {
	eachSaga(t, func(t *testing.T, of sagaOf, bank *service) {
		release := make(chan struct{})
		bank.on("Out", func(*request) error {
			<-release
			return nil
		})
		s, gid := of(bank, nil, patience, "Out")
		must(t, s.Submit())
		// The reply was lost, say.
		must(t, s.Submit())
		close(release)
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out")
	})
}
