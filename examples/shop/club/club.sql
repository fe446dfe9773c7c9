-- The club's own tables. What is on a card stands in the bookings as well: the difference never changes.
create table card (
  id varchar(40) primary key,
  points int not null check (points >= 0)
);

create table booking (
  order_id varchar(40) primary key,
  card_id varchar(40) not null,
  points int not null check (points > 0),
  booked_at timestamp(6) not null default current_timestamp(6),
  foreign key (card_id) references card (id)
);

insert into card (id, points) values ('ada', 100), ('ben', 0), ('cleo', 250);
