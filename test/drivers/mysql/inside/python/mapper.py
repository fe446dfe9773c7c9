"""What Django hears of a server, one line for each thing that was said: `mapper.py <port> <user> <database> <gid>`. With a gid, what is said
belongs to that global transaction: every connection names it, or every statement in a comment."""

import sys
from datetime import datetime
from decimal import Decimal

import django
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connections, models, transaction
from django.db.models import Case, Count, F, Q, Value, When
from django.db.models.functions import Concat

port, user, database, gid = sys.argv[1:5]
LOGIN = {"ENGINE": "django.db.backends.mysql", "HOST": "127.0.0.1", "PORT": port, "USER": user, "NAME": database}
COMMON = {"charset": "utf8mb4"}
# Under Django's own READ COMMITTED it cannot be known which rows of an upsert were there before.
NAMED = {**COMMON, "isolation_level": "repeatable read", "init_command": f"SET @atomesh_gid = '{gid}'" if gid else "DO 0"}
settings.configure(
    DATABASES={"default": {**LOGIN, "OPTIONS": NAMED}, "comment": {**LOGIN, "OPTIONS": COMMON}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["__main__"],
    USE_TZ=False,
)
django.setup()


class Model(models.Model):
    class Meta:
        abstract = True
        app_label = "__main__"


class Tag(Model):
    name = models.CharField(max_length=20, unique=True)

    class Meta(Model.Meta):
        db_table = "tag"


class Item(Model):
    code = models.CharField(max_length=40, unique=True)
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    name = models.CharField(max_length=60, null=True)
    at = models.DateTimeField(null=True)
    raw = models.BinaryField(null=True)
    note = models.TextField(null=True)
    edition = models.IntegerField(default=0)
    tags = models.ManyToManyField(Tag, through="ItemTag")

    class Meta(Model.Meta):
        db_table = "item"


class ItemTag(Model):
    item = models.ForeignKey(Item, models.CASCADE, db_column="item")
    tag = models.ForeignKey(Tag, models.CASCADE, db_column="tag")

    class Meta(Model.Meta):
        db_table = "item_tag"


class Line(Model):
    item = models.ForeignKey(Item, models.CASCADE, db_column="item", related_name="lines")
    n = models.IntegerField(default=1)

    class Meta(Model.Meta):
        db_table = "line"


class Counter(Model):
    name = models.CharField(max_length=20, primary_key=True)
    n = models.IntegerField()

    class Meta(Model.Meta):
        db_table = "counter"


def say(what, *said):
    print("=", what + ":", " ".join(" ".join(str(each) for each in said).split()), flush=True)


def failing(work):
    """What a part of its own that fails is told, behind a savepoint."""
    try:
        work()
    except DatabaseError as error:
        return error.args[:2]


def changes(db, mark):
    """A usual unit of work, in a local transaction or statement by statement."""
    items, counters = Item.objects.using(db), Counter.objects.using(db)
    made = items.create(code=mark, price=Decimal("12.34"), name="quo'te\\ä😀 100%", at=datetime(2024, 2, 29, 23, 59, 59, 999999), raw=b"\0\1\xff")
    say(mark, "made", made.pk > 0)
    made.note, made.price = "a;b", F("price") + 1
    made.save(using=db)
    made.save(using=db, update_fields=["note"])
    Line.objects.using(db).bulk_create([Line(item=made, n=n) for n in range(30)], batch_size=20)
    say(mark, "lines", [line.n for line in made.lines.using(db).order_by("id")][-3:])
    several = items.bulk_create([Item(code=f"{mark} {n}", price=n) for n in range(12)])
    say(mark, "keys", all(each.pk for each in several))
    several = list(items.filter(code__startswith=mark + " ").order_by("code"))
    for n, each in enumerate(several):
        each.name = f"n{n}"
    say(mark, "bulk update", items.bulk_update(several, ["name"], batch_size=8))
    say(mark, "ignored", len(items.bulk_create([Item(code=mark), Item(code=f"{mark} new")], ignore_conflicts=True)))
    there, new = [Counter(name="ann", n=10)], [Counter(name=mark[-20:], n=1)]
    for each in [there + new] if db == "default" else [there, new]:
        counters.bulk_create(each, update_conflicts=True, update_fields=["n"])
    say(mark, "updated", counters.filter(name__in=["cy", "dee"]).update(n=Case(When(n__gt=3, then=F("n") + 10), default=F("n") * 2)))
    say(mark, "joined", Line.objects.using(db).filter(item__code=mark, n__gt=25).update(n=F("n") + 100))
    say(mark, "annotated", items.annotate(count=Count("lines")).filter(count__gt=20, code=mark).update(name=Concat(F("code"), Value("!"))))
    say(mark, "or", items.filter(Q(code=f"{mark} 3") | Q(price__gt=9, code__startswith=mark)).update(note="found"))
    say(mark, "get or create", [items.get_or_create(code=f"{mark} once", defaults={"price": 1})[1] for _ in range(2)])
    say(mark, "update or create", [items.update_or_create(code=f"{mark} once", defaults={"price": p})[1] for p in (2, 3)])
    tags = list(Tag.objects.using(db).order_by("name"))
    made.tags.add(*tags)
    made.tags.remove(tags[0])
    say(mark, "tags", [tag.name for tag in made.tags.using(db).order_by("name")])
    made.tags.set(tags[:2])
    say(mark, "gone", Line.objects.using(db).filter(item__code=mark, n__lt=10).delete())
    say(mark, "cascade", items.filter(code__in=[mark, f"{mark} 1"]).delete())
    say(mark, "stale", items.filter(code=f"{mark} 2", edition=7).update(edition=8))
    rows = items.filter(code__startswith=mark).order_by("code").values_list("code", "price", "name", "note")
    say(mark, "rows", list(rows.iterator(chunk_size=5)))


def locked(db, mark):
    counters = Counter.objects.using(db)
    say(mark, "locked", [each.n for each in counters.select_for_update().filter(name__in=["eve", "fay"]).order_by("name")])
    say(mark, "skipped", counters.select_for_update(skip_locked=True).get(name="eve").n)
    counters.filter(name="fay").update(n=F("n") + 5)

    def twice():
        with transaction.atomic(using=db):
            Item.objects.using(db).create(code=f"{mark} inner")
            Item.objects.using(db).create(code="seed")

    say(mark, "nested", failing(twice))
    say(mark, "refers to nothing", failing(lambda: refer(db)))


def refer(db):
    with transaction.atomic(using=db):
        Line.objects.using(db).create(item_id=999999)


def commented(execute, sql, params, many, context):
    return execute(f"{sql} /*atomesh_gid='{gid}'*/", params, many, context)


def talk(db):
    changes(db, f"{db} alone")
    for mark in ("kept", "gone"):
        try:
            with transaction.atomic(using=db):
                changes(db, f"{db} {mark}")
                locked(db, f"{db} {mark}")
                if mark == "gone":
                    raise IntegrityError("changed its mind")
        except IntegrityError as error:
            say(db, mark, "end", error)
    connections[db].close()


talk("default")
if gid:
    connections["comment"].execute_wrappers.append(commented)
talk("comment")
print("= the end")
