"""What a driver of Python and SQLAlchemy over it hear of a server, one line for each thing that was said:
`talk.py <port> <user> <database> <gid> <driver>`. With a gid, every connection belongs to that global transaction."""

import importlib
import sys
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import orm

port, user, database, gid, name = sys.argv[1:6]
module = importlib.import_module({"mysqlclient": "MySQLdb", "pymysql": "pymysql", "connector": "mysql.connector"}[name])
INIT = f"SET @atomesh_gid = '{gid}'" if gid else "DO 0"
LOGIN = {"host": "127.0.0.1", "port": int(port), "user": user, "charset": "utf8mb4", "init_command": INIT}
MULTIPLE = {"client_flag": module.constants.CLIENT.MULTI_STATEMENTS} if name == "pymysql" else {}


def say(what, *said):
    print("=", name, what + ":", " ".join(" ".join(str(each) for each in said).split()), flush=True)


def connect():
    return module.connect(database=database, **LOGIN, **MULTIPLE)


def told(cursor, text, values=None):
    """What a statement answers, or its error."""
    try:
        cursor.execute(text, values)
        if cursor.description:
            return [column[0] for column in cursor.description], cursor.fetchall()
        # Which number it is depends on what failed before.
        return cursor.rowcount, bool(cursor.lastrowid)
    except module.Error as error:
        return error.args[:2]


def changes(cursor, mark):
    at = datetime(2024, 2, 29, 23, 59, 59, 999999)
    insert = "insert into item (code, price, name, at, raw, flag, big) values (%s, %s, %s, %s, %s, b'1', %s)"
    values = (mark + "1", Decimal("12.3400"), "quo'te\\ä😀", at, b"\0\1\xff", 18446744073709551615)
    say(mark, "insert", told(cursor, insert, values))
    say(mark, "twice", told(cursor, insert, values))
    cursor.executemany("insert into item (code, name) values (%s, %s)", [(f"{mark}m{i}", i) for i in range(40)])
    say(mark, "many", cursor.rowcount)
    cursor.executemany("update item set price = %s where code = %s", [(i, f"{mark}m{i}") for i in range(5)])
    say(mark, "many updated", cursor.rowcount)
    say(mark, "update", told(cursor, "update item set note = 'a;b', price = 1.5 where code like %s", (mark + "m1%",)))
    say(mark, "again", told(cursor, "update item set note = 'a;b', price = 1.5 where code like %s", (mark + "m1%",)))
    say(mark, "delete", told(cursor, "delete from item where code like %s", (mark + "m3%",)))
    say(mark, "ignored", told(cursor, "insert ignore into item (code) values (%s)", (mark + "1",)))
    say(mark, "warnings", told(cursor, "show warnings"))
    say(mark, "upsert", told(cursor, "insert into counter values ('ann', 1) on duplicate key update n = n + values(n)"))
    say(mark, "replace", told(cursor, "replace into counter values ('bob', %s)", (len(mark),)))
    say(mark, "too long", told(cursor, "update item set code = %s where code = %s", ("n" * 100, mark + "1")))
    say(mark, "refers", told(cursor, "insert into line (item, n) values (1, 2)"))
    say(mark, "refers to nothing", told(cursor, "insert into line (item) values (999999)"))
    say(mark, "no statement", told(cursor, "selec"))
    say(mark, "rows", told(cursor, "select code, price, name, at, raw, flag + 0, big, note from item where code like %s order by code", (mark + "%",)))
    say(mark, "locked", told(cursor, "select * from counter where name in ('ann', 'bob') order by name for update"))


def driver():
    db = connect()
    cursor = db.cursor()
    changes(cursor, "a")
    db.commit()
    changes(cursor, "b")
    db.rollback()
    say("gone", told(cursor, "select count(*) from item where code like 'b%'"))
    for text in ["savepoint one", "update counter set n = 50 where name = 'cy'", "rollback to one", "release savepoint one"]:
        say(text, told(cursor, text))
    db.commit()
    db.autocommit(True) if name != "connector" else setattr(db, "autocommit", True)
    changes(cursor, "c")
    db.close()
    if name == "connector":
        db = connect()
        prepared = db.cursor(prepared=True)
        for n in range(3):
            prepared.execute("update counter set n = n + %s where name = %s", (n, "dee"))
            say("prepared", prepared.rowcount)
        prepared.execute("select n from counter where name = %s", ("dee",))
        say("prepared rows", prepared.fetchall())
        db.commit()
        db.close()
    db = connect()
    if name == "pymysql":
        cursor = db.cursor()
        cursor.execute("update counter set n = 7 where name = 'eve'; select n from counter where name = 'eve'; insert into counter values ('gil', 1)")
        say("several", cursor.rowcount, cursor.nextset(), cursor.fetchall(), cursor.nextset(), cursor.rowcount)
        streamed = db.cursor(module.cursors.SSCursor)
        streamed.execute("select * from big")
        say("streamed", sum(row[0] + len(row[1]) for row in streamed))
    db.commit()
    db.close()


class Base(orm.DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    code: orm.Mapped[str]
    price: orm.Mapped[Decimal | None]
    name: orm.Mapped[str | None]
    note: orm.Mapped[str | None]
    edition: orm.Mapped[int] = orm.mapped_column()
    lines: orm.Mapped[list["Line"]] = orm.relationship(cascade="all, delete-orphan", order_by="Line.id")
    __mapper_args__ = {"version_id_col": edition}


class Line(Base):
    __tablename__ = "line"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    item: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("item.id"))
    n: orm.Mapped[int]


class Counter(Base):
    __tablename__ = "counter"
    name: orm.Mapped[str] = orm.mapped_column(primary_key=True)
    n: orm.Mapped[int]


def unit(session, mark):
    """A usual unit of work: new objects with others that refer to them, changes, a version that is checked, a nested part, removals."""
    item = Item(code=mark, price=Decimal("2.5"), lines=[Line(n=1), Line(n=2), Line(n=3)])
    session.add(item)
    session.add_all(Item(code=f"{mark}{n}", name="n") for n in range(20))
    session.flush()
    say(mark, "flushed", len(item.lines), item.edition)
    item.name = "changed"
    del item.lines[1]
    session.flush()
    say(mark, "version", item.edition)
    found = session.scalars(sa.select(Counter).where(Counter.name == "fay").with_for_update()).one()
    found.n += 5
    try:
        with session.begin_nested():
            session.add(Item(code=mark + "x"))
            session.flush()
            session.add(Item(code=mark))
            session.flush()
    except sa.exc.IntegrityError as error:
        say(mark, "nested", error.orig.args[0])
    done = session.execute(sa.update(Item).where(Item.code.like(mark + "1%")).values(note=Item.code, edition=Item.edition + 1))
    say(mark, "bulk update", done.rowcount)
    done = session.execute(sa.delete(Item).where(Item.code == mark + "2"))
    say(mark, "bulk delete", done.rowcount)
    for each in session.scalars(sa.select(Item).where(Item.code.like(mark + "%")).order_by(Item.code)):
        say(mark, "row", each.code, each.name, each.note, each.edition, [line.n for line in each.lines])


def mapper():
    dialect = {"mysqlclient": "mysqldb", "pymysql": "pymysql", "connector": "mysqlconnector"}[name]
    arguments = {"init_command": INIT}
    url = f"mysql+{dialect}://{user}@127.0.0.1:{port}/{database}?charset=utf8mb4"
    engine = sa.create_engine(url, connect_args=arguments)
    with orm.Session(engine) as session:
        unit(session, "kept")
        session.commit()
    with orm.Session(engine) as session:
        unit(session, "gone")
        session.rollback()
        say("left", session.scalar(sa.select(sa.func.count()).select_from(Item).where(Item.code.like("gone%"))))
    engine.dispose()


driver()
mapper()
print("= the end")
