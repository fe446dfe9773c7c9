-- The tables of the points service.
create table member (
  id text primary key,
  points int not null check (points >= 0),
  is_suspended boolean not null default false
);

create table grant_of_points (
  order_id text primary key,
  member_id text not null references member,
  points int not null check (points > 0)
);

insert into member (id, points, is_suspended) values ('ada', 20, false), ('ben', 0, true), ('cleo', 190, false);
