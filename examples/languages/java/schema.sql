-- The tables of the payments service. What leaves an account stands in the ledger: together they never change.
create table account (
  id text primary key,
  balance numeric(12, 2) not null check (balance >= 0)
);

create table ledger (
  order_id text primary key,
  account_id text not null references account,
  amount numeric(12, 2) not null check (amount > 0)
);

insert into account (id, balance) values ('ada', 1000.00), ('ben', 1000.00), ('cleo', 100.00);
