// Package dtmclients runs DTM's published Go client, unchanged, against a coordinator of Atomesh.
package dtmclients

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	clientlogger "github.com/dtm-labs/client/dtmcli/logger"
	"github.com/dtm-labs/logger"
	"github.com/go-redis/redis/v8"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/lib/pq"
)

// Where the coordinator is, in the words of DTM's documentation.
var (
	dtmHTTP    = os.Getenv("ATOMESH_HTTP") + "/api/dtmsvr"
	dtmJSONRPC = os.Getenv("ATOMESH_HTTP") + "/api/json-rpc"
	dtmGRPC    = os.Getenv("ATOMESH_GRPC")
	// A service in TypeScript whose barrier is Atomesh's, in the same PostgreSQL database.
	participant = os.Getenv("PARTICIPANT_HTTP")
)

var errOutage = errors.New("the service is out of order for the moment")

// database is one of the servers that the services of the tests use.
type database struct {
	conf dtmcli.DBConf
	*sql.DB
}

var (
	postgres = &database{conf: dtmcli.DBConf{Driver: dtmcli.DBTypePostgres, Host: "127.0.0.1", Port: port("POSTGRES_PORT"), User: "postgres", Password: "none", Db: "bank", Schema: "public"}}
	mariadb  = &database{conf: dtmcli.DBConf{Driver: dtmcli.DBTypeMysql, Host: "127.0.0.1", Port: port("MARIADB_PORT"), User: "atomesh", Db: "bank"}}
	redisDB  = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port("REDIS_PORT"))})
)

func TestMain(m *testing.M) {
	if os.Getenv("ATOMESH_HTTP") == "" {
		fmt.Println("there is no coordinator: run test/dtm-clients/run.ts")
		os.Exit(1)
	}
	// The client logs every refusal as an error.
	logger.InitLog("fatal")
	clientlogger.InitLog("fatal")
	postgres.DB = open("postgres", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=bank sslmode=disable", postgres.conf.Port))
	mariadb.DB = open("mysql", fmt.Sprintf("atomesh@tcp(127.0.0.1:%d)/bank", mariadb.conf.Port))
	if crash := os.Getenv("CRASH"); crash != "" {
		crashes[crash]()
		fmt.Println("a process that was to crash has not")
		os.Exit(0)
	}
	startWorkflows()
	os.Exit(m.Run())
}

func open(driver, address string) *sql.DB {
	db, err := sql.Open(driver, address)
	if err != nil {
		panic(err)
	}
	return db
}

func port(variable string) int64 {
	number, _ := strconv.ParseInt(os.Getenv(variable), 10, 64)
	return number
}

// account makes an account with a name of its own.
func (db *database) account(t *testing.T, balance int) string {
	name := dtmcli.MustGenGid(dtmHTTP)
	_, err := db.Exec(fmt.Sprintf("insert into account (name, balance) values ('%s', %d)", name, balance))
	must(t, err)
	return name
}

func (db *database) balance(t *testing.T, name string) int {
	var balance int
	must(t, db.QueryRow(fmt.Sprintf("select balance from account where name = '%s'", name)).Scan(&balance))
	return balance
}

// adjust takes a *sql.DB as well as a *sql.Tx. A balance that would be negative is a failure, as a service would say it.
func adjust(db dtmcli.DB, name string, amount int) error {
	_, err := db.Exec(fmt.Sprintf("update account set balance = balance + %d where name = '%s'", amount, name))
	if err != nil {
		return fmt.Errorf("%v. %w", err, dtmcli.ErrFailure)
	}
	return nil
}

// barrier is the barrier of a request, in this database.
func (db *database) barrier(qs url.Values) *dtmcli.BranchBarrier {
	barrier, err := dtmcli.BarrierFromQuery(qs)
	if err != nil {
		panic(err)
	}
	barrier.DBType = db.conf.Driver
	return barrier
}

// rows lists the barrier rows of a transaction as "branch op reason".
func (db *database) rows(t *testing.T, gid string) []string {
	found, err := db.Query(fmt.Sprintf("select branch_id, op, reason from dtm_barrier.barrier where gid = '%s' order by branch_id, op", gid))
	must(t, err)
	defer found.Close()
	rows := []string{}
	for found.Next() {
		var branchID, op, reason string
		must(t, found.Scan(&branchID, &op, &reason))
		rows = append(rows, fmt.Sprintf("%s %s %s", branchID, op, reason))
	}
	return rows
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustFailWith(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("expected an error with %q, found %v", words, err)
	}
}

func expect[T comparable](t *testing.T, what string, actual, expected T) {
	t.Helper()
	if actual != expected {
		t.Fatalf("%s: expected %v, found %v", what, expected, actual)
	}
}

func expectList(t *testing.T, what string, actual []string, expected ...string) {
	t.Helper()
	expect(t, what, strings.Join(actual, "\n"), strings.Join(expected, "\n"))
}

// expectSet is for what has no order.
func expectSet(t *testing.T, what string, actual []string, expected ...string) {
	t.Helper()
	sort.Strings(actual)
	expectList(t, what, actual, expected...)
}

func ctx() context.Context { return context.Background() }

// eventually waits for a condition, at most 20 s.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain until %s", what)
		}
	}
}

// transaction is what the coordinator answers to /query.
type transaction struct {
	Transaction struct {
		Status         string `json:"status"`
		Result         string `json:"result"`
		RollbackReason string `json:"rollback_reason"`
	} `json:"transaction"`
	Branches []struct {
		BranchID string `json:"branch_id"`
		Op       string `json:"op"`
		Status   string `json:"status"`
	} `json:"branches"`
}

func query(gid string) (found transaction) {
	response, err := http.Get(dtmHTTP + "/query?gid=" + url.QueryEscape(gid))
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		panic(err)
	}
	return found
}

func status(gid string) string {
	return query(gid).Transaction.Status
}

// ended waits until the transaction has ended so.
func ended(t *testing.T, gid, expected string) {
	t.Helper()
	last := ""
	eventually(t, gid+" has ended", func() bool {
		last = status(gid)
		return last == dtmcli.StatusSucceed || last == dtmcli.StatusFailed
	})
	expect(t, "the status of "+gid, last, expected)
}
