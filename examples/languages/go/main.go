// The stock service: reserves goods for orders.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	// Where the database is stands in PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD.
	pool, err := pgxpool.New(context.Background(), "")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	s := &stock{pool: pool, mail: newMail(os.Getenv("MAIL_URL"))}

	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, nil) })
	mux.HandleFunc("/reservations", post(s.reserve))
	mux.HandleFunc("/holds", post(s.hold))
	mux.HandleFunc("/holds/confirm", post(s.confirmHold))
	mux.HandleFunc("/holds/cancel", post(s.cancelHold))
	mux.HandleFunc("/deliveries", post(s.deliver))

	server := &http.Server{
		Addr:              "127.0.0.1:" + os.Getenv("PORT"),
		Handler:           withGid(mux),
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

// refusal is an answer of 409: what was asked for cannot be had.
type refusal string

func (r refusal) Error() string { return string(r) }

// post handles a POST with a JSON body.
func post[T any](handle func(context.Context, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			reply(w, http.StatusMethodNotAllowed, nil)
			return
		}
		var body T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body); err != nil {
			reply(w, http.StatusBadRequest, err)
			return
		}
		err := handle(r.Context(), body)
		var refused refusal
		switch {
		case err == nil:
			reply(w, http.StatusOK, nil)
		case errors.As(err, &refused):
			reply(w, http.StatusConflict, err)
		default:
			log.Print(err)
			reply(w, http.StatusInternalServerError, err)
		}
	}
}

func reply(w http.ResponseWriter, status int, err error) {
	body := map[string]string{}
	if err != nil {
		body["detail"] = err.Error()
	}
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
