-- The tables of the stock service.
create table item (
  id text primary key,
  available int not null check (available >= 0),
  held int not null default 0 check (held >= 0)
);

create table reservation (
  order_id text not null,
  item_id text not null references item,
  quantity int not null check (quantity > 0),
  primary key (order_id, item_id)
);

insert into item (id, available) values ('cup', 500), ('kettle', 2), ('teapot', 10);
