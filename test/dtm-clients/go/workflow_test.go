package dtmclients

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// task is what the workflows are started with.
type task struct {
	Bank   string
	IsGRPC bool
	// Accounts: the last one pays the fee, for the others are locked until the end.
	Payer, Payee, Customer string
}

// Where the coordinator calls a workflow again: this process, also for those that another one has begun.
var httpCallback, grpcCallback string

// startWorkflows registers every workflow and serves the coordinator's calls.
func startWorkflows() {
	registerWorkflows()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		code, answer := dtmcli.Result2HttpJSON(workflow.ExecuteByQS(r.URL.Query(), body))
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	httpCallback, grpcCallback = server.URL+"/workflow", listener.Addr().String()
	grpcServer := grpc.NewServer()
	initWorkflows(grpcServer)
	go func() { _ = grpcServer.Serve(listener) }()
}

func initWorkflows(grpcServer *grpc.Server) {
	workflow.InitHTTP(dtmHTTP, httpCallback)
	workflow.InitGrpc(dtmGRPC, grpcCallback, grpcServer)
}

// step calls an operation of the bank; the client records it.
func (work task) step(wf *workflow.Workflow, operation string) error {
	bank := service{address: work.Bank, isGRPC: work.IsGRPC}
	if !work.IsGRPC {
		_, err := wf.NewRequest().SetBody(transfer{amount}).Post(bank.url(operation))
		return err
	}
	connection, err := grpc.Dial(work.Bank, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(workflow.Interceptor))
	if err != nil {
		return err
	}
	defer connection.Close()
	return connection.Invoke(wf.Context, "/bank.Bank/"+operation, wrapperspb.Int64(amount), &emptypb.Empty{})
}

// later calls an operation in the second phase.
func (work task) later(wf *workflow.Workflow, operation string) workflow.WfPhase2Func {
	return func(*dtmcli.BranchBarrier) error { return work.step(wf, operation) }
}

func registerWorkflows() {
	register := func(name string, program func(wf *workflow.Workflow, work task) ([]byte, error)) {
		soon := func(wf *workflow.Workflow) { wf.RetryInterval = 1 }
		err := workflow.Register2(name, func(wf *workflow.Workflow, data []byte) ([]byte, error) {
			var work task
			if err := json.Unmarshal(data, &work); err != nil {
				return nil, err
			}
			return program(wf, work)
		}, soon)
		if err != nil {
			panic(err)
		}
	}
	register("saga", func(wf *workflow.Workflow, work task) ([]byte, error) {
		wf.NewBranch().OnRollback(work.later(wf, "OutRevert"))
		if err := work.step(wf, "Out"); err != nil {
			return nil, err
		}
		// Where a process that is to crash does so.
		if os.Getenv("CRASH") != "" {
			os.Exit(crashCode)
		}
		wf.NewBranch().OnRollback(work.later(wf, "FeeRevert"))
		if err := work.step(wf, "Fee"); err != nil {
			return nil, err
		}
		wf.NewBranch()
		return []byte("transferred"), work.step(wf, "In")
	})
	register("tcc", func(wf *workflow.Workflow, work task) ([]byte, error) {
		for _, name := range []string{"Out", "In"} {
			wf.NewBranch().OnRollback(work.later(wf, name+"Cancel")).OnCommit(work.later(wf, name+"Confirm"))
			if err := work.step(wf, name+"Try"); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	register("mixed", func(wf *workflow.Workflow, work task) ([]byte, error) {
		_, err := wf.NewBranch().DoXa(postgres.conf, func(db *sql.DB) ([]byte, error) { return nil, adjust(db, work.Payer, -amount) })
		if err != nil {
			return nil, err
		}
		_, err = wf.NewBranch().DoXa(mariadb.conf, func(db *sql.DB) ([]byte, error) { return nil, adjust(db, work.Payee, amount) })
		if err != nil {
			return nil, err
		}
		wf.NewBranch().OnRollback(func(barrier *dtmcli.BranchBarrier) error {
			barrier.DBType = dtmcli.DBTypePostgres
			return barrier.CallWithDB(postgres.DB, func(tx *sql.Tx) error { return adjust(tx, work.Customer, 1) })
		})
		receipt, err := wf.Do(func(barrier *dtmcli.BranchBarrier) ([]byte, error) {
			barrier.DBType = dtmcli.DBTypePostgres
			return []byte("fee 1"), barrier.CallWithDB(postgres.DB, func(tx *sql.Tx) error { return adjust(tx, work.Customer, -1) })
		})
		if err != nil {
			return nil, err
		}
		wf.NewBranch()
		return receipt, work.step(wf, "Notify")
	})
}

// eachWorkflow runs a test for both protocols, one after the other: the client has one of them at a time.
func eachWorkflow(t *testing.T, name string, test func(t *testing.T, bank *service, work *task, execute func(gid string) (string, error))) {
	for _, protocol := range []string{dtmimp.ProtocolHTTP, dtmimp.ProtocolGRPC} {
		isGRPC := protocol == dtmimp.ProtocolGRPC
		t.Run(map[bool]string{false: "HTTP", true: "GRPC"}[isGRPC], func(t *testing.T) {
			workflow.SetProtocolForTest(protocol)
			bank := newService(t, isGRPC)
			work := &task{Bank: bank.address, IsGRPC: isGRPC}
			test(t, bank, work, func(gid string) (string, error) {
				result, err := workflow.Execute2(name, gid, dtmimp.MustMarshal(work))
				return string(result), err
			})
		})
	}
}

func TestWorkflowReturnsItsResultAlsoWhenItIsExecutedAgain(t *testing.T) {
	eachWorkflow(t, "saga", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		gid := dtmcli.MustGenGid(dtmHTTP)
		for range []string{"once", "twice"} {
			result, err := execute(gid)
			must(t, err)
			expect(t, "the result", result, "transferred")
		}
		expect(t, "the status", status(gid), dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Fee", "In")
	})
}

func TestWorkflowIsRolledBackInReverse(t *testing.T) {
	eachWorkflow(t, "saga", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		bank.on("In", always(fmt.Errorf("no such account. %w", dtmcli.ErrFailure)))
		gid := dtmcli.MustGenGid(dtmHTTP)
		for range []string{"once", "twice"} {
			_, err := execute(gid)
			mustFailWith(t, err, "no such account")
		}
		expect(t, "the status", status(gid), dtmcli.StatusFailed)
		expectList(t, "calls", bank.called(), "Out", "Fee", "In", "FeeRevert", "OutRevert")
	})
}

func TestWorkflowIsCalledAgainAndGoesOnWhereItStopped(t *testing.T) {
	eachWorkflow(t, "saga", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		bank.on("Fee", atFirst(errOutage)).on("In", atFirst(dtmcli.ErrOngoing))
		gid := dtmcli.MustGenGid(dtmHTTP)
		_, err := execute(gid)
		mustFailWith(t, err, errOutage.Error())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Fee", "Fee", "In", "In")
		result, err := execute(gid)
		must(t, err)
		expect(t, "the result", result, "transferred")
	})
}

func init() {
	crashes["workflow"] = func() {
		arguments, _ := url.ParseQuery(os.Getenv("CRASH_ARGUMENT"))
		httpCallback, grpcCallback = arguments.Get("http"), arguments.Get("grpc")
		registerWorkflows()
		initWorkflows(grpc.NewServer())
		workflow.SetProtocolForTest(arguments.Get("protocol"))
		_, _ = workflow.Execute2("saga", arguments.Get("gid"), []byte(arguments.Get("work")))
	}
}

func TestWorkflowOfAProcessThatCrashedGoesOnInAnother(t *testing.T) {
	eachWorkflow(t, "saga", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		gid := dtmcli.MustGenGid(dtmHTTP)
		protocol := map[bool]string{false: dtmimp.ProtocolHTTP, true: dtmimp.ProtocolGRPC}[work.IsGRPC]
		crashed(t, "workflow", url.Values{
			"gid": {gid}, "protocol": {protocol}, "work": {dtmimp.MustMarshalString(work)}, "http": {httpCallback}, "grpc": {grpcCallback},
		}.Encode())
		ended(t, gid, dtmcli.StatusSucceed)
		expectList(t, "calls", bank.called(), "Out", "Fee", "In")
	})
}

func TestWorkflowConfirmsOrCancelsItsTccBranches(t *testing.T) {
	eachWorkflow(t, "tcc", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		_, err := execute(dtmcli.MustGenGid(dtmHTTP))
		must(t, err)
		expectList(t, "calls", bank.called(), "OutTry", "InTry", "InConfirm", "OutConfirm")
		bank.on("InTry", always(dtmcli.ErrFailure))
		_, err = execute(dtmcli.MustGenGid(dtmHTTP))
		mustFailWith(t, err, "FAILURE")
		expectList(t, "calls", bank.called()[4:], "OutTry", "InTry", "OutCancel")
	})
}

func TestWorkflowMixesXaWithLocalTransactionsAndCalls(t *testing.T) {
	eachWorkflow(t, "mixed", func(t *testing.T, bank *service, work *task, execute func(string) (string, error)) {
		work.Payer, work.Payee, work.Customer = postgres.account(t, 100), mariadb.account(t, 0), postgres.account(t, 9)
		balances := func() string {
			return fmt.Sprint(postgres.balance(t, work.Payer), mariadb.balance(t, work.Payee), postgres.balance(t, work.Customer))
		}
		receipt, err := execute(dtmcli.MustGenGid(dtmHTTP))
		must(t, err)
		expect(t, "the result", receipt, "fee 1")
		expect(t, "the balances", balances(), "70 30 8")
		bank.on("Notify", always(dtmcli.ErrFailure))
		_, err = execute(dtmcli.MustGenGid(dtmHTTP))
		mustFailWith(t, err, "FAILURE")
		expect(t, "the balances after a failure", balances(), "70 30 8")
	})
}
