package dtmclients

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/dtm-labs/client/dtmgrpc/dtmgimp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// transfer is what the branches are called with: as JSON over HTTP, the number alone over gRPC.
type transfer struct {
	Amount int64 `json:"amount"`
}

const amount = 30

// request is a call of a branch, over HTTP or gRPC.
type request struct {
	url.Values
	ctx    context.Context
	header func(name string) string
	// What was sent.
	amount int64
	// Which call of this operation it is, from 1 on.
	number int
}

// handler answers a call: nil for success, or an error of dtmcli.
type handler func(r *request) error

// service is one that is called: every operation succeeds unless a handler says something else.
type service struct {
	mutex    sync.Mutex
	calls    []string
	numbers  map[string]int
	handlers map[string]handler
	address  string
	isGRPC   bool
}

func newService(t *testing.T, isGRPC bool) *service {
	s := &service{numbers: map[string]int{}, handlers: map[string]handler{}, isGRPC: isGRPC}
	if isGRPC {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		server := grpc.NewServer(grpc.UnknownServiceHandler(s.serveGRPC))
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		s.address = listener.Addr().String()
		return s
	}
	server := httptest.NewServer(http.HandlerFunc(s.serveHTTP))
	t.Cleanup(server.Close)
	s.address = server.URL
	return s
}

func newHTTPService(t *testing.T) *service { return newService(t, false) }
func newGRPCService(t *testing.T) *service { return newService(t, true) }

// url is the address of an operation, as a branch is registered with.
func (s *service) url(operation string) string {
	if s.isGRPC {
		return s.address + "/bank.Bank/" + operation
	}
	return s.address + "/bank/" + operation
}

func (s *service) on(operation string, do handler) *service {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.handlers[operation] = do
	return s
}

// called lists the operations in the order of their calls.
func (s *service) called() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string{}, s.calls...)
}

func (s *service) answer(operation string, r *request) error {
	s.mutex.Lock()
	s.calls = append(s.calls, operation)
	s.numbers[operation]++
	r.number = s.numbers[operation]
	do := s.handlers[operation]
	s.mutex.Unlock()
	if do == nil {
		return nil
	}
	return do(r)
}

func (s *service) serveHTTP(w http.ResponseWriter, r *http.Request) {
	var body transfer
	// The check back of a message has no body.
	err := json.NewDecoder(r.Body).Decode(&body)
	if err == nil || err == io.EOF {
		operation := strings.TrimPrefix(r.URL.Path, "/bank/")
		err = s.answer(operation, &request{Values: r.URL.Query(), ctx: r.Context(), header: r.Header.Get, amount: body.Amount})
	}
	var result interface{} = dtmcli.MapSuccess
	if err != nil {
		result = err
	}
	code, answer := dtmcli.Result2HttpJSON(result)
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *service) serveGRPC(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	body := wrapperspb.Int64Value{}
	if err := stream.RecvMsg(&body); err != nil {
		return err
	}
	ctx := stream.Context()
	base := dtmgimp.TransBaseFromGrpc(ctx)
	headers, _ := metadata.FromIncomingContext(ctx)
	operation := strings.TrimPrefix(method, "/bank.Bank/")
	err := s.answer(operation, &request{
		Values: url.Values{
			"gid": {base.Gid}, "trans_type": {base.TransType}, "branch_id": {base.BranchID}, "op": {base.Op}, "dtm": {base.Dtm},
			"phase2_url": {dtmgimp.GetDtmMetaFromContext(ctx, "phase2_url")},
		},
		ctx:    ctx,
		header: func(name string) string { return strings.Join(headers.Get(name), ",") },
		amount: body.Value,
	})
	if err != nil {
		return dtmgrpc.DtmError2GrpcError(err)
	}
	return stream.SendMsg(&emptypb.Empty{})
}

// always answers every call of an operation with the same error.
func always(err error) handler {
	return func(*request) error { return err }
}

// atFirst answers the first calls with these errors, one after the other, and succeeds from then on.
func atFirst(answers ...error) handler {
	return func(r *request) error {
		if r.number <= len(answers) {
			return answers[r.number-1]
		}
		return nil
	}
}

// jsonRPCService is one that is called by JSON-RPC, and takes every call.
type jsonRPCService struct {
	mutex sync.Mutex
	calls []string
	url   string
}

func newJSONRPCService(t *testing.T) *jsonRPCService {
	s := &jsonRPCService{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID, Method string
			Params     struct {
				Amount    int64
				Gid       string `json:"gid"`
				TransType string `json:"trans_type"`
				BranchID  string `json:"branch_id"`
				Op        string `json:"op"`
			}
		}
		_ = json.NewDecoder(r.Body).Decode(&call)
		p := call.Params
		s.mutex.Lock()
		s.calls = append(s.calls, fmt.Sprint(call.Method, " ", p.Amount, " ", p.Gid, " ", p.TransType, " ", p.BranchID, " ", p.Op))
		s.mutex.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]interface{}{"jsonrpc": "2.0", "id": call.ID, "result": nil, "error": nil})
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *jsonRPCService) called() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string{}, s.calls...)
}
