package dtmclients

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/dtm-labs/client/dtmgrpc/dtmgimp"
	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// message is what the client's types for HTTP and gRPC have in common.
type message interface {
	Prepare(queryPrepared string) error
	Submit() error
	DoAndSubmit(queryPrepared string, work func(barrier *dtmcli.BranchBarrier) error) error
}

type messageOf func(bank *service, options func(*dtmcli.Msg), steps ...string) (message, string)

type grpcMessage struct{ *dtmgrpc.MsgGrpc }

func (m grpcMessage) DoAndSubmit(queryPrepared string, work func(barrier *dtmcli.BranchBarrier) error) error {
	return m.MsgGrpc.DoAndSubmit(queryPrepared, work)
}

var messages = map[string]messageOf{
	"HTTP": func(bank *service, options func(*dtmcli.Msg), steps ...string) (message, string) {
		m := dtmcli.NewMsg(dtmHTTP, dtmcli.MustGenGid(dtmHTTP))
		for _, step := range steps {
			m.Add(bank.url(step), transfer{amount})
		}
		options(m)
		return m, m.Gid
	},
	"GRPC": func(bank *service, options func(*dtmcli.Msg), steps ...string) (message, string) {
		m := dtmgrpc.NewMsgGrpc(dtmGRPC, dtmgrpc.MustGenGid(dtmGRPC))
		for _, step := range steps {
			m.Add(bank.url(step), wrapperspb.Int64(amount))
		}
		options(&m.Msg)
		return grpcMessage{m}, m.Gid
	},
}

func eachMessage(t *testing.T, test func(t *testing.T, of messageOf, bank *service)) {
	t.Parallel()
	for name, of := range messages {
		name, of := name, of
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, of, newService(t, name == "GRPC"))
		})
	}
}

func atOnce(*dtmcli.Msg) {}

// askedSoon is for messages whose sender is lost: DTM asks it after 35 s, or as soon as the message says.
func askedSoon(m *dtmcli.Msg) { m.TimeoutToFail, m.RetryInterval = 2, 1 }

func TestMessageIsDelivered(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		m, gid := of(bank, atOnce, "Out", "In")
		must(t, m.Prepare(bank.url("Query")))
		expect(t, "the status", status(gid), dtmcli.StatusPrepared)
		must(t, m.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "In")
	})
}

func TestMessageIsDeliveredUntilItIsTaken(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		bank.on("Out", atFirst(errOutage)).on("In", atFirst(dtmcli.ErrOngoing, dtmcli.ErrFailure))
		m, gid := of(bank, func(m *dtmcli.Msg) { m.RetryInterval = 1 }, "Out", "In")
		must(t, m.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Out", "In", "In", "In")
	})
}

func TestMessageWaitsForItsResult(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		m, gid := of(bank, func(m *dtmcli.Msg) { m.WaitResult = true }, "Out")
		must(t, m.Submit())
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
	})
}

func TestMessageIsHeldForItsDelay(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		m, gid := of(bank, func(m *dtmcli.Msg) { m.SetDelay(1) }, "Out")
		began := time.Now()
		must(t, m.Submit())
		ended(t, gid, dtmcli.StatusSucceed)
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Fatalf("delivered after %s", took)
		}
	})
}

func TestMessageIsSentWithTheLocalTransaction(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		payer := postgres.account(t, 100)
		m, gid := of(bank, atOnce, "In")
		must(t, m.DoAndSubmit(bank.url("Query"), func(barrier *dtmcli.BranchBarrier) error {
			barrier.DBType = dtmcli.DBTypePostgres
			return barrier.CallWithDB(postgres.DB, func(tx *sql.Tx) error { return adjust(tx, payer, -amount) })
		}))
		ended(t, gid, dtmcli.StatusSucceed)
		expect(t, "the balance", postgres.balance(t, payer), 70)
		expectList(t, "calls", bank.called(), "In")
		expectList(t, "the barrier", postgres.rows(t, gid), "00 msg msg")
	})
}

func TestMessageIsNotSentWhenTheLocalTransactionFails(t *testing.T) {
	eachMessage(t, func(t *testing.T, of messageOf, bank *service) {
		m, gid := of(bank, atOnce, "In")
		err := m.DoAndSubmit(bank.url("Query"), func(*dtmcli.BranchBarrier) error { return dtmcli.ErrFailure })
		mustFailWith(t, err, "FAILURE")
		ended(t, gid, dtmcli.StatusFailed)
		expect(t, "the number of calls", len(bank.called()), 0)
	})
}

// crashed runs this program once more: as a sender that ends in the middle.
func crashed(t *testing.T, name, queryPrepared string) {
	t.Helper()
	program, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env:   append(os.Environ(), "CRASH="+name, "CRASH_ARGUMENT="+queryPrepared),
		Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	must(t, err)
	state, err := program.Wait()
	must(t, err)
	expect(t, "the exit code", state.ExitCode(), crashCode)
}

const crashCode = 3

// senderCrashes sends a message for which the bank is asked, and ends before or after its local transaction.
func senderCrashes(protocol string, isCommitted bool) func() {
	return func() {
		arguments := url.Values{}
		if parsed, err := url.ParseQuery(os.Getenv("CRASH_ARGUMENT")); err == nil {
			arguments = parsed
		}
		bank := &service{address: arguments.Get("bank"), isGRPC: protocol == "GRPC"}
		m, _ := messages[protocol](bank, func(m *dtmcli.Msg) {
			askedSoon(m)
			m.Gid = arguments.Get("gid")
		}, "In")
		_ = m.DoAndSubmit(bank.url("Query"), func(barrier *dtmcli.BranchBarrier) error {
			barrier.DBType = dtmcli.DBTypePostgres
			_ = barrier.CallWithDB(postgres.DB, func(tx *sql.Tx) error {
				if err := adjust(tx, arguments.Get("payer"), -amount); err != nil || !isCommitted {
					os.Exit(crashCode)
				}
				return nil
			})
			os.Exit(crashCode)
			return nil
		})
	}
}

var crashes = map[string]func(){
	"HTTP committed":     senderCrashes("HTTP", true),
	"HTTP not committed": senderCrashes("HTTP", false),
	"GRPC committed":     senderCrashes("GRPC", true),
	"GRPC not committed": senderCrashes("GRPC", false),
}

func testCrashedSender(t *testing.T, how, finalStatus string, balance int, calls ...string) {
	t.Parallel()
	for name := range messages {
		name := name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payer, gid := postgres.account(t, 100), dtmcli.MustGenGid(dtmHTTP)
			bank := newService(t, name == "GRPC")
			bank.on("Query", func(r *request) error { return postgres.barrier(r.Values).QueryPrepared(postgres.DB) })
			crashed(t, name+" "+how, url.Values{"bank": {bank.address}, "gid": {gid}, "payer": {payer}}.Encode())
			ended(t, gid, finalStatus)
			expect(t, "the balance", postgres.balance(t, payer), balance)
			expectList(t, "calls", bank.called(), calls...)
		})
	}
}

func TestMessageOfASenderThatCrashedAfterItsCommitIsDelivered(t *testing.T) {
	testCrashedSender(t, "committed", dtmcli.StatusSucceed, 70, "Query", "In")
}

func TestMessageOfASenderThatCrashedBeforeItsCommitIsDropped(t *testing.T) {
	testCrashedSender(t, "not committed", dtmcli.StatusFailed, 100, "Query")
}

func TestMessageGoesToEverySubscriberOfItsTopic(t *testing.T) {
	t.Parallel()
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		bank, topic := newHTTPService(t), "topic-"+dtmcli.MustGenGid(dtmHTTP)
		for _, subscriber := range []string{"Mail", "Ledger"} {
			address := dtmHTTP + "/subscribe?topic=" + topic + "&url=" + url.QueryEscape(bank.url(subscriber))
			response, err := http.Get(address)
			must(t, err)
			must(t, response.Body.Close())
			expect(t, "the answer to a subscription", response.StatusCode, http.StatusOK)
		}
		m := dtmcli.NewMsg(dtmHTTP, dtmcli.MustGenGid(dtmHTTP)).AddTopic(topic, transfer{amount})
		m.WaitResult = true
		must(t, m.Submit())
		expectSet(t, "calls", bank.called(), "Ledger", "Mail")
		branches := []string{}
		for _, branch := range query(m.Gid).Branches {
			branches = append(branches, branch.BranchID)
		}
		expectSet(t, "branches", branches, "01-01", "01-02")
	})
	t.Run("GRPC", func(t *testing.T) {
		t.Parallel()
		bank, topic := newGRPCService(t), "topic-"+dtmcli.MustGenGid(dtmHTTP)
		coordinator := dtmgimp.MustGetDtmClient(dtmGRPC)
		for _, subscriber := range []string{"Mail", "Ledger", "Nobody"} {
			_, err := coordinator.Subscribe(ctx(), &dtmgpb.DtmTopicRequest{Topic: topic, URL: bank.url(subscriber), Remark: "a test"})
			must(t, err)
		}
		_, err := coordinator.Unsubscribe(ctx(), &dtmgpb.DtmTopicRequest{Topic: topic, URL: bank.url("Nobody")})
		must(t, err)
		m := dtmgrpc.NewMsgGrpc(dtmGRPC, dtmgrpc.MustGenGid(dtmGRPC)).AddTopic(topic, wrapperspb.Int64(amount))
		m.WaitResult = true
		must(t, m.Submit())
		expectSet(t, "calls", bank.called(), "Ledger", "Mail")
		_, err = coordinator.DeleteTopic(ctx(), &dtmgpb.DtmTopicRequest{Topic: topic})
		must(t, err)
		late := dtmgrpc.NewMsgGrpc(dtmGRPC, dtmgrpc.MustGenGid(dtmGRPC)).AddTopic(topic, wrapperspb.Int64(amount))
		mustFailWith(t, late.Submit(), "topic not found")
	})
}

func TestMessageCallsJSONRPC(t *testing.T) {
	t.Parallel()
	server := newJSONRPCService(t)
	m := dtmcli.NewMsg(dtmJSONRPC, dtmcli.MustGenGid(dtmHTTP)).Add(server.url+"?method=credit", transfer{amount})
	m.Protocol, m.WaitResult = dtmimp.Jrpc, true
	must(t, m.Submit())
	expectList(t, "calls", server.called(), fmt.Sprintf("credit %d %s msg 01 action", amount, m.Gid))
}
