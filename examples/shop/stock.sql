-- The stock service's own tables. What is not available is reserved: together they never change.
create table item (
  id text primary key,
  available int not null check (available >= 0)
);

create table reservation (
  order_id text not null,
  item_id text not null references item,
  quantity int not null check (quantity > 0),
  primary key (order_id, item_id)
);

insert into item (id, available) values ('teapot', 10), ('kettle', 2), ('cup', 50);

-- For the second phase: the sidecar's role restores rows of these tables.
grant select, insert, update, delete on all tables in schema public to atomesh;
