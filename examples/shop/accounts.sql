-- The accounts service's own tables. What leaves an account stands in the ledger: together they never change.
create table account (
  id text primary key,
  balance numeric(12, 2) not null check (balance >= 0)
);

create table ledger (
  order_id text primary key,
  account_id text not null references account,
  amount numeric(12, 2) not null check (amount > 0),
  booked_at timestamptz not null default now()
);

insert into account (id, balance) values ('ada', 200.00), ('ben', 120.00), ('cleo', 300.00);

-- For the second phase: the sidecar's role restores rows of these tables.
grant select, insert, update, delete on all tables in schema public to atomesh;
