package main

// Passes the name of the global transaction on: from the request into SQL and into calls. The service needs no more
// than this. The name is opaque, and there is none when nobody has begun a global transaction.

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5"
)

const gidHeader = "atomesh-gid"

type gidKey struct{}

// withGid puts the name into the context of each request.
func withGid(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), gidKey{}, r.Header.Get(gidHeader))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func gidOf(ctx context.Context) string {
	gid, _ := ctx.Value(gidKey{}).(string)
	return gid
}

// txOptions begins a local transaction that belongs to the global one: BEGIN carries its name in a comment, escaped so
// that it cannot end the comment.
func txOptions(ctx context.Context) pgx.TxOptions {
	gid := gidOf(ctx)
	if gid == "" {
		return pgx.TxOptions{}
	}
	return pgx.TxOptions{BeginQuery: fmt.Sprintf("begin /*atomesh_gid='%s'*/", url.PathEscape(gid))}
}

// gidTransport passes the name on to the services that are called.
type gidTransport struct{ http.RoundTripper }

func (t gidTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if gid := gidOf(r.Context()); gid != "" {
		r = r.Clone(r.Context())
		r.Header.Set(gidHeader, gid)
	}
	return t.RoundTripper.RoundTrip(r)
}
