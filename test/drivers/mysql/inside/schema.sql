create table item (id int unsigned auto_increment primary key, code varchar(40) collate utf8mb4_general_ci not null unique, price decimal(12,4), name varchar(60), at datetime(6), raw mediumblob, flag bit(1), big bigint unsigned, note text, edition int not null default 0) default character set utf8mb4;
create table line (id bigint auto_increment primary key, item int unsigned not null, n int not null default 1, foreign key (item) references item (id));
create table counter (name varchar(20) primary key, n int not null);
create table big (id int primary key, body text);
