// What go-sql-driver/mysql and GORM hear of a server, one line for each thing that was said:
// `talk <port> <user> <database> <gid>`. With a gid, every connection belongs to that global transaction.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

var prefix string

func say(name string, said ...any) {
	fmt.Printf("= %s %s: %s\n", prefix, name, strings.Join(strings.Fields(fmt.Sprintln(said...)), " "))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// told is what a statement has done, or its error.
func told(result sql.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	rows, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	// Which number it is depends on what failed before.
	return fmt.Sprintf("%d rows, id %t", rows, id > 0)
}

func rowsOf(rows *sql.Rows, err error) string {
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	var all strings.Builder
	for more := true; more; more = rows.NextResultSet() {
		columns, _ := rows.Columns()
		values := make([]sql.NullString, len(columns))
		places := make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		all.WriteString(strings.Join(columns, ","))
		for rows.Next() {
			check(rows.Scan(places...))
			all.WriteString(fmt.Sprint(" | ", values))
		}
	}
	if rows.Err() != nil {
		return all.String() + rows.Err().Error()
	}
	return all.String()
}

type runner interface {
	Exec(query string, args ...any) (sql.Result, error)
	Query(query string, args ...any) (*sql.Rows, error)
}

// changes are said outside of a local transaction and inside of one.
func changes(db runner, mark string) {
	at := time.Date(2024, 2, 29, 23, 59, 59, 999999000, time.UTC)
	say(mark+" insert", told(db.Exec("insert into item (code, price, name, at, raw, flag, big) values (?, ?, ?, ?, ?, ?, ?)",
		mark+"1", "12.3400", "quo'te\\ä😀", at, []byte{0, 1, 255}, []byte{1}, uint64(18446744073709551615))))
	say(mark+" several rows", told(db.Exec("insert into item (code, name) values (?, ?), (?, null)", mark+"2", "b", mark+"3")))
	say(mark+" text", told(db.Exec("update item set price = 1.5, note = 'a;b' where code in ('"+mark+"1', '"+mark+"2')")))
	say(mark+" again", told(db.Exec("update item set price = 1.5, note = 'a;b' where code in ('"+mark+"1', '"+mark+"2')")))
	say(mark+" twice", told(db.Exec("insert into item (code) values (?)", mark+"1")))
	say(mark+" ignored", told(db.Exec("insert ignore into item (code) values (?)", mark+"1")))
	say(mark+" upsert", told(db.Exec("insert into counter (name, n) values (?, 1) on duplicate key update n = n + 1", "ann")))
	say(mark+" replace", told(db.Exec("replace into counter (name, n) values (?, ?)", "bob", 7)))
	say(mark+" too long", told(db.Exec("update item set code = ? where code = ?", strings.Repeat("n", 100), mark+"2")))
	say(mark+" delete", told(db.Exec("delete from item where code = ?", mark+"3")))
	say(mark+" referring", told(db.Exec("insert into line (item, n) values (?, 3)", 1)))
	say(mark+" refers to nothing", told(db.Exec("insert into line (item, n) values (?, 3)", 999)))
	say(mark+" no statement", told(db.Exec("selec")))
	say(mark+" rows", rowsOf(db.Query("select code, price, name, at, hex(raw), flag + 0, big, note from item where code like ? order by code", mark+"%")))
	say(mark+" locked", rowsOf(db.Query("select n from counter where name = ? for update", "ann")))
}

func driver(db *sql.DB) {
	changes(db, "a")
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	check(err)
	changes(tx, "b")
	say("commit", tx.Commit())
	tx, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	check(err)
	changes(tx, "c")
	say("rollback", tx.Rollback())
	say("gone", rowsOf(db.Query("select count(*) from item where code like 'c%'")))

	tx, err = db.Begin()
	check(err)
	insert, err := tx.Prepare("insert into item (code, price) values (?, ?)")
	check(err)
	for i := 0; i < 30; i++ {
		if _, err := insert.Exec(fmt.Sprint("batch", i), i); err != nil {
			say("batch", err)
		}
	}
	say("savepoint", told(tx.Exec("savepoint a")))
	say("below", told(tx.Exec("update item set price = price + 1 where code like 'batch%'")))
	say("back", told(tx.Exec("rollback to a")))
	say("batch rows", rowsOf(tx.Query("select count(*), sum(price) from item where code like 'batch%'")))
	check(insert.Close())
	say("batch commit", tx.Commit())

	conn, err := db.Conn(ctx)
	check(err)
	for _, text := range []string{
		"set autocommit = 0", "update counter set n = 20 where name = 'cy'", "rollback", "update counter set n = 21 where name = 'cy'",
		"commit", "set autocommit = 1",
		"update counter set n = 30 where name = 'cy'; update counter set n = 31 where name = 'dee'; insert into counter values ('gil', 1)",
	} {
		result, err := conn.ExecContext(ctx, text)
		say(text, told(result, err))
	}
	rows, err := conn.QueryContext(ctx, "update counter set n = 32 where name = 'dee'; select n from counter where name = 'dee'; select row_count()")
	say("several", rowsOf(rows, err))
	rows, err = conn.QueryContext(ctx, "select * from big")
	check(err)
	count, bytes := 0, 0
	for rows.Next() {
		var id, text string
		check(rows.Scan(&id, &text))
		count, bytes = count+1, bytes+len(text)
	}
	say("streamed", count, bytes, rows.Close())
	_, err = conn.ExecContext(ctx, "insert ignore into counter values ('ann', 'x')")
	say("warned", err)
	rows, err = conn.QueryContext(ctx, "show warnings")
	say("warnings", rowsOf(rows, err))
	check(conn.Close())

	late, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = db.ExecContext(late, "update counter set n = sleep(5) where name = 'dee'")
	say("cancelled", errors.Is(err, context.DeadlineExceeded))
	cancel()
	say("goes on", told(db.Exec("update counter set n = 40 where name = 'eve'")))
}

// Counter, Item and Line are rows of the tables as GORM maps them.
type Counter struct {
	Name string `gorm:"primaryKey"`
	N    int
}

type Line struct {
	ID   int64
	Item uint
	N    int
}

type Item struct {
	ID    uint
	Code  string
	Price *float64
	Name  *string
	Lines []Line `gorm:"foreignKey:Item"`
}

func (Counter) TableName() string { return "counter" }
func (Line) TableName() string    { return "line" }
func (Item) TableName() string    { return "item" }

func mapper(pool *sql.DB, prepares bool) {
	// With RETURNING, which GORM adds for MariaDB, a prepared INSERT is refused, and one of associations is prepared by XA.
	db, err := gorm.Open(gormmysql.New(gormmysql.Config{Conn: pool, DisableWithReturning: true}),
		&gorm.Config{Logger: logger.Discard, PrepareStmt: prepares})
	check(err)
	outcome := func(db *gorm.DB) string { return fmt.Sprint(db.RowsAffected, " rows ", db.Error) }
	price := 2.5
	unit := func(mark string, end error) {
		err := db.Transaction(func(tx *gorm.DB) error {
			item := Item{Code: mark, Price: &price, Lines: []Line{{N: 1}, {N: 2}}}
			say(mark+" create", outcome(tx.Create(&item)), len(item.Lines))
			say(mark+" in batches", outcome(tx.CreateInBatches([]Item{{Code: mark + "1"}, {Code: mark + "2"}, {Code: mark + "3"}}, 2)))
			item.Price = nil
			say(mark+" save", outcome(tx.Omit("Lines").Save(&item)))
			say(mark+" updates", outcome(tx.Model(&Item{}).Where("code like ?", mark+"%").Updates(map[string]any{"name": "all", "price": gorm.Expr("ifnull(price, 0) + ?", 1)})))
			say(mark+" upsert", outcome(tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Counter{Name: "fay", N: 5})))
			var found Counter
			say(mark+" lock", outcome(tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&found, "name = ?", "ann")))
			say(mark+" nested", tx.Transaction(func(inner *gorm.DB) error {
				say(mark+" inner", outcome(inner.Model(&Counter{}).Where("name = ?", "ann").Update("n", 1000)))
				return errors.New("taken back")
			}))
			say(mark+" delete", outcome(tx.Where("code = ?", mark+"3").Delete(&Item{})))
			var items []Item
			say(mark+" found", outcome(tx.Preload("Lines").Order("code").Find(&items, "code like ?", mark+"%")))
			for _, each := range items {
				say(mark+" item", each.Code, each.Name != nil, each.Price != nil, len(each.Lines))
			}
			return end
		})
		say(mark+" end", err)
	}
	unit("kept", nil)
	unit("gone", errors.New("changed my mind"))
	var missing Item
	say("first or create", outcome(db.Where(Item{Code: "once"}).FirstOrCreate(&missing)))
	say("first or create", outcome(db.Where(Item{Code: "once"}).FirstOrCreate(&missing)))
	say("duplicate", outcome(db.Create(&Item{Code: "once"})))
}

func main() {
	port, user, database, gid := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	attributes := "program:talk"
	if gid != "" {
		attributes += ",atomesh_gid:" + gid
	}
	open := func(options string) *sql.DB {
		db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(127.0.0.1:%s)/%s?multiStatements=true&connectionAttributes=%s%s",
			user, port, database, url.QueryEscape(attributes), options))
		check(err)
		return db
	}
	check(mysql.SetLogger(&mysql.NopLogger{}))
	switch os.Args[5] {
	case "driver":
		for _, options := range []string{"", "&interpolateParams=true&clientFoundRows=true&parseTime=true"} {
			prefix = options
			db := open(options)
			driver(db)
			for _, text := range []string{"delete from line where item <> 1", "delete from item where code <> 'seed'"} {
				say("swept", told(db.Exec(text)))
			}
			check(db.Close())
		}
	case "gorm":
		db := open("&parseTime=true")
		mapper(db, os.Args[6] == "prepared")
		check(db.Close())
	}
	fmt.Println("= the end")
}
