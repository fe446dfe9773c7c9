"""The orders service: writes an order, has its goods reserved and its price paid, and marks it as placed."""

import os
from decimal import Decimal
from uuid import uuid4

import httpx
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field, PositiveInt
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import global_transaction

STOCK_URL = os.environ["STOCK_URL"]
PAYMENTS_URL = os.environ["PAYMENTS_URL"]
POINTS_URL = os.environ["POINTS_URL"]

app = FastAPI()
# Where the database is stands in PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD.
engine = create_engine("postgresql+psycopg://")
# Through the proxy of HTTP_PROXY, which httpx looks for by itself.
services = httpx.Client(
    timeout=20, event_hooks={"request": [global_transaction.pass_on]}
)
global_transaction.install(app, engine)


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"

    item: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[Decimal]


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str]
    item: Mapped[str] = mapped_column(ForeignKey("product.item"))
    quantity: Mapped[int]
    amount: Mapped[Decimal]
    state: Mapped[str] = mapped_column(default="new")


class OrderRequest(BaseModel):
    # A number of the customer's own makes calls the same when the request is sent again.
    number: str = Field(default_factory=lambda: uuid4().hex)
    customer: str
    item: str
    quantity: PositiveInt


class OrderReply(BaseModel):
    order: str
    amount: Decimal
    state: str


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "up"}


@app.post("/orders", status_code=201)
def order(request: OrderRequest) -> OrderReply:
    new = write(request)
    ask(f"{STOCK_URL}/reservations", new, item=request.item, quantity=request.quantity)
    ask(
        f"{PAYMENTS_URL}/payments",
        new,
        account=request.customer,
        amount=str(new.amount),
    )
    return place(new)


@app.post("/preorders", status_code=201)
@app.post("/preorders/durable", status_code=201)
def preorder(request: OrderRequest) -> OrderReply:
    """Holds and charges for the time being; the routes in sidecar.yaml say what follows."""
    new = write(request)
    ask(f"{STOCK_URL}/holds", new, item=request.item, quantity=request.quantity)
    ask(
        f"{PAYMENTS_URL}/charges", new, account=request.customer, amount=str(new.amount)
    )
    ask(f"{POINTS_URL}/points", new, member=request.customer, points=int(new.amount))
    return place(new)


def write(request: OrderRequest) -> OrderReply:
    with Session(engine) as session, session.begin():
        product = session.get(Product, request.item)
        if product is None:
            raise HTTPException(404, f"there is no {request.item} in the catalogue")
        order = Order(**request.model_dump(), amount=product.price * request.quantity)
        session.add(order)
        session.flush()
        return OrderReply(order=order.number, amount=order.amount, state=order.state)


def place(new: OrderReply) -> OrderReply:
    with Session(engine) as session, session.begin():
        order = session.get_one(Order, new.order)
        order.state = "placed"
    return new.model_copy(update={"state": "placed"})


def ask(url: str, new: OrderReply, **share: object) -> None:
    """Has another service do its share; what it refuses is refused with its own words."""
    response = services.post(url, json={"order": new.order, **share})
    if response.status_code == 409:
        raise HTTPException(409, response.json()["detail"])
    response.raise_for_status()
