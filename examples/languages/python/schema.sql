-- The tables of the orders service.
create table product (
  item text primary key,
  price numeric(12, 2) not null check (price > 0)
);

create table orders (
  number text primary key,
  customer text not null,
  item text not null references product,
  quantity int not null check (quantity > 0),
  amount numeric(12, 2) not null,
  state text not null check (state in ('new', 'placed'))
);

insert into product (item, price) values ('cup', 4.50), ('kettle', 45.00), ('teapot', 30.00);
