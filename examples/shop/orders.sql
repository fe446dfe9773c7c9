-- The orders service's own tables.
create table product (
  item text primary key,
  price numeric(12, 2) not null check (price > 0)
);

create table orders (
  id bigint generated always as identity primary key,
  customer text not null,
  item text not null references product,
  quantity int not null check (quantity > 0),
  amount numeric(12, 2) not null,
  state text not null check (state in ('new', 'placed')),
  taken_at timestamptz not null default now()
);

insert into product (item, price) values ('teapot', 29.90), ('kettle', 45.00), ('cup', 4.50);

-- For the second phase: the sidecar's role restores rows of these tables.
grant select, insert, update, delete on all tables in schema public to atomesh;
