package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type stock struct {
	pool *pgxpool.Pool
	mail *mail
}

type reservation struct {
	Order    string `json:"order"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

func (s *stock) reserve(ctx context.Context, r reservation) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		err := move(ctx, tx, r.Item, r.Quantity,
			"update item set available = available - $2 where id = $1 and available >= $2")
		if err != nil {
			return err
		}
		return book(ctx, tx, r)
	})
}

// Goods that are held are not available, and not reserved yet: whoever has them held confirms or cancels.

func (s *stock) hold(ctx context.Context, r reservation) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return move(ctx, tx, r.Item, r.Quantity,
			"update item set available = available - $2, held = held + $2 where id = $1 and available >= $2")
	})
}

func (s *stock) confirmHold(ctx context.Context, r reservation) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if err := move(ctx, tx, r.Item, r.Quantity, "update item set held = held - $2 where id = $1"); err != nil {
			return err
		}
		return book(ctx, tx, r)
	})
}

func (s *stock) cancelHold(ctx context.Context, r reservation) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return move(ctx, tx, r.Item, r.Quantity,
			"update item set available = available + $2, held = held - $2 where id = $1")
	})
}

type delivery struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// deliver puts goods on the shelf, and has those who wait for them told. The mail leaves if, and only if, the
// transaction commits: the sidecar keeps it until then.
func (s *stock) deliver(ctx context.Context, d delivery) error {
	if err := s.mail.send(ctx, "there are new ones of "+d.Item); err != nil {
		return err
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return move(ctx, tx, d.Item, d.Quantity, "update item set available = available + $2 where id = $1")
	})
}

func (s *stock) inTx(ctx context.Context, work func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, txOptions(ctx), work)
}

// move runs an update of one item; when there is none, or not enough of it, that is a refusal.
func move(ctx context.Context, tx pgx.Tx, item string, quantity int, update string) error {
	moved, err := tx.Exec(ctx, update, item, quantity)
	if err == nil && moved.RowsAffected() == 0 {
		return refusal("there are not enough of " + item)
	}
	return err
}

func book(ctx context.Context, tx pgx.Tx, r reservation) error {
	_, err := tx.Exec(ctx,
		"insert into reservation (order_id, item_id, quantity) values ($1, $2, $3)", r.Order, r.Item, r.Quantity)
	return err
}
