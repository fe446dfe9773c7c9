import jakarta.persistence.LockModeType;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDateTime;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.SharedSessionContract;
import org.hibernate.StatelessSession;
import org.hibernate.cfg.Configuration;
import org.hibernate.engine.jdbc.connections.spi.ConnectionProvider;
import org.hibernate.query.sqm.mutation.internal.inline.InlineMutationStrategy;
import org.hibernate.resource.jdbc.spi.StatementInspector;

/**
 * What Hibernate hears of a server, one line for each thing that was said: {@code java Hibernate <port> <user> <database> <gid>}.
 * With a gid, what is said belongs to that global transaction. Each variant has the options that make the driver speak differently, and
 * names the gid for the connection of each session, or in a comment of each statement.
 */
public final class Hibernate implements ConnectionProvider, StatementInspector {
  private static final String[] VARIANTS = {
    "mysql?session",
    "mysql?comment&rewriteBatchedStatements=true",
    "mysql?session&useServerPrepStmts=true&cachePrepStmts=true&rewriteBatchedStatements=true",
    "mariadb?session",
    "mariadb?comment&useServerPrepStmts=true&useBulkStmtsForInserts=false",
  };

  private static final List<String> VARIANT_NAMES = List.of(VARIANTS);

  private static String[] login;
  private static String variant;

  @Override
  public Connection getConnection() throws SQLException {
    String[] parts = variant.split("\\?");
    boolean isMysql = parts[0].equals("mysql");
    return DriverManager.getConnection("jdbc:" + parts[0] + "://127.0.0.1:" + login[0] + "/" + login[2] + "?" + parts[1]
        + "&user=" + login[1] + "&allowPublicKeyRetrieval=true&sslMode=" + (isMysql ? "DISABLED" : "disable"));
  }

  /** For the session's own connection only: those that fetch keys stay outside, or the table of the keys would be locked, and turned back. */
  private static void name(SharedSessionContract session) {
    if (!isNamed("session")) return;
    session.doWork(db -> {
      try (Statement naming = db.createStatement()) {
        naming.execute("SET @atomesh_gid = '" + login[3] + "'");
      }
    });
  }

  @Override
  public String inspect(String sql) {
    return isNamed("comment") ? sql + " /*atomesh_gid='" + login[3] + "'*/" : sql;
  }

  private static boolean isNamed(String how) {
    return !login[3].isEmpty() && variant.contains("?" + how);
  }

  @Override
  public void closeConnection(Connection db) throws SQLException {
    db.close();
  }

  @Override
  public boolean supportsAggressiveRelease() {
    return false;
  }

  @Override
  public boolean isUnwrappableAs(Class<?> type) {
    return false;
  }

  @Override
  public <T> T unwrap(Class<T> type) {
    return null;
  }

  /** The dialect is that of the server: by itself Hibernate takes the driver's. */
  private static SessionFactory open() throws SQLException {
    String dialect;
    try (Connection db = new Hibernate().getConnection(); ResultSet version = db.createStatement().executeQuery("select version()")) {
      version.next();
      dialect = version.getString(1).contains("MariaDB") ? "MariaDBDialect" : "MySQLDialect";
    }
    Configuration configuration = new Configuration();
    for (Class<?> entity : Entities.ALL) configuration.addAnnotatedClass(entity);
    configuration.getProperties().putAll(Map.of(
        "hibernate.dialect", "org.hibernate.dialect." + dialect,
        "hibernate.connection.provider_class", Hibernate.class.getName(),
        "hibernate.session_factory.statement_inspector", Hibernate.class.getName(),
        // Keys in the text instead of a temporary table.
        "hibernate.query.mutation_strategy", InlineMutationStrategy.class.getName(),
        "hibernate.jdbc.batch_size", "10",
        "hibernate.order_inserts", "true",
        "hibernate.order_updates", "true"));
    return configuration.buildSessionFactory();
  }

  public static void main(String[] arguments) throws SQLException {
    login = arguments;
    for (String each : VARIANTS) {
      variant = each;
      try (SessionFactory mapper = open()) {
        for (String mark : new String[] {"kept", "gone"}) {
          said(mapper, mark + " items", mark, Hibernate::items);
          said(mapper, mark + " batches", mark, Hibernate::batches);
          said(mapper, mark + " two tables", mark, Hibernate::twoTables);
        }
        said(mapper, "twice", "kept", (session, mark) -> session.persist(new Entities.Item("seed", "1")));
        said(mapper, "refers to nothing", "kept", (session, mark) -> {
          Entities.Line line = new Entities.Line();
          line.item = session.getReference(Entities.Item.class, 999_999L);
          session.persist(line);
        });
        said(mapper, "stale", "kept", (session, mark) -> {
          Entities.Item item = item(session, "other");
          session.createNativeMutationQuery("update item set edition = edition + 1 where code = 'other'").executeUpdate();
          item.name = "late";
        });
        stateless(mapper);
        if (variant == VARIANTS[VARIANTS.length - 1]) said(mapper, "remarked", "kept", Hibernate::remarked);
      }
    }
    System.out.println("= the end");
  }

  private interface Part {
    void run(Session session, String mark);
  }

  /** A part in a local transaction of its own, which is rolled back where the mark says so, and what it ends with. */
  private static void said(SessionFactory mapper, String name, String mark, Part part) {
    try (Session session = mapper.openSession()) {
      session.beginTransaction();
      name(session);
      try {
        part.run(session, mark + " " + VARIANT_NAMES.indexOf(variant));
        if (mark.equals("gone")) session.getTransaction().rollback();
        else session.getTransaction().commit();
        say(name, mark);
      } catch (RuntimeException error) {
        session.getTransaction().rollback();
        say(name, described(error));
      }
    }
  }

  private static void say(String name, Object... said) {
    System.out.println("= " + variant + " " + name + ": " + Arrays.toString(said).replaceAll("\\s+", " "));
  }

  /** The classes of the mapper's exceptions down to what the driver heard, which begins with the number of the connection in one of them. */
  private static String described(Throwable error) {
    String name = error.getClass().getSimpleName();
    if (error instanceof BatchUpdateException batch) name += Arrays.toString(batch.getUpdateCounts());
    if (error instanceof SQLException heard)
      return name + " " + heard.getErrorCode() + " " + heard.getSQLState() + " " + heard.getMessage().replaceAll("conn(?:ection)?=?\\d+", "");
    return error.getCause() == null ? name + " " + error.getMessage() : name + " " + described(error.getCause());
  }

  private static Entities.Item item(Session session, String code) {
    return session.createQuery("from Item where code = :code", Entities.Item.class).setParameter("code", code).getSingleResult();
  }

  /** A usual unit of work: lines that come and go with their item, versions, locks, statements for many rows at once. */
  private static void items(Session session, String mark) {
    Entities.Item made = new Entities.Item(mark, "12.34").with(1).with(2).with(3);
    made.at = LocalDateTime.of(2024, 2, 29, 23, 59, 59, 999_999_000);
    made.raw = new byte[] {0, 1, -1};
    made.flag = true;
    session.persist(made);
    for (int n = 0; n < 5; n++) session.persist(new Entities.Item(mark + n, "1"));
    session.flush();
    say("made", made.id > 0, made.edition);
    made.name = "quo'te\\ä😀";
    made.lines.remove(1);
    made.with(4);
    session.flush();
    say("changed", made.told());
    Entities.Counter fay = session.find(Entities.Counter.class, "fay", LockModeType.PESSIMISTIC_WRITE);
    fay.n += 5;
    session.find(Entities.Counter.class, "eve", LockModeType.PESSIMISTIC_READ);
    session.lock(made, LockModeType.PESSIMISTIC_FORCE_INCREMENT);
    List<String> free = session.createQuery("select name from Counter where n < 4 order by name", String.class)
        .setLockMode(LockModeType.PESSIMISTIC_WRITE).setHint("jakarta.persistence.lock.timeout", -2).getResultList();
    say("locked", fay.n, made.edition, free);
    say("bulk", session.createMutationQuery("update Item set note = code, price = price * 2 where code like :all").setParameter("all", mark + "%").executeUpdate(),
        session.createMutationQuery("update versioned Item set name = 'v' where code = :code").setParameter("code", mark + 1).executeUpdate(),
        session.createMutationQuery("delete from Item where code in (:codes)").setParameter("codes", List.of(mark + 2, mark + 3)).executeUpdate(),
        session.createMutationQuery("update Counter set n = n + (select count(*) from Line) where name = 'dee'").executeUpdate());
    session.clear();
    session.remove(item(session, mark + 4));
    session.flush();
    for (Entities.Item each : session.createQuery("from Item i left join fetch i.lines where i.code like :all order by i.code", Entities.Item.class)
        .setParameter("all", mark + "%").getResultList()) {
      say("row", each.told());
    }
    session.remove(item(session, mark));
    session.persist(new Entities.Item(mark + " again", "3").with(1));
  }

  /** Batches of 20: keys of a table and of a sequence, versions that are checked for each row, collections with a key. */
  private static void batches(Session session, String mark) {
    for (int n = 0; n < 25; n++) {
      Entities.Task task = new Entities.Task(mark + " " + n);
      if (n % 10 == 0) {
        task.labels.addAll(List.of("red", "late"));
        task.steps.addAll(List.of("a", "b", "c"));
      }
      session.persist(task);
      session.persist(new Entities.Memo(mark + " " + n));
    }
    session.flush();
    session.clear();
    List<Entities.Task> tasks = session.createQuery("from Task where name like :all order by id", Entities.Task.class).setParameter("all", mark + "%").getResultList();
    say("tasks", tasks.size());
    for (Entities.Task task : tasks) task.done = true;
    tasks.get(0).labels.remove("red");
    tasks.get(0).steps.remove(0);
    tasks.get(10).steps.add(0, "first");
    session.flush();
    for (Entities.Task task : tasks.subList(12, 24)) session.remove(task);
    session.flush();
    say("memos", session.createMutationQuery("delete from Memo where name like :some").setParameter("some", mark + " 1%").executeUpdate());
    session.clear();
    for (Entities.Task task : session.createQuery("from Task where name like :all order by id", Entities.Task.class).setParameter("all", mark + "%").getResultList()) {
      if (task.name.endsWith("0")) say("task", task.name, task.done, task.edition, new TreeSet<>(task.labels), task.steps);
    }
  }

  private static void twoTables(Session session, String mark) {
    for (int n = 0; n < 4; n++) session.persist(new Entities.Firm(mark + n, n));
    session.flush();
    say("firms", session.createMutationQuery("update Firm set size = size + 10, name = concat(name, '!') where name like :all").setParameter("all", mark + "%").executeUpdate(),
        session.createMutationQuery("delete from Firm where size = 11 and name like :all").setParameter("all", mark + "%").executeUpdate());
    say("firms", session.createQuery("select concat(name, ' ', size) from Firm where name like :all order by name", String.class).setParameter("all", mark + "%").getResultList());
  }

  /** A collection in a table without a key: what the server has prepared keeps its locks until the decision, so it comes last. */
  private static void remarked(Session session, String mark) {
    Entities.Remarked firm = new Entities.Remarked();
    firm.name = mark;
    firm.remarks.addAll(List.of("one", "two"));
    session.persist(firm);
    session.flush();
    firm.remarks.remove("one");
  }

  private static void stateless(SessionFactory mapper) {
    try (StatelessSession session = mapper.openStatelessSession()) {
      session.beginTransaction();
      name(session);
      session.upsert(new Entities.Counter("ann", 100));
      session.upsert(new Entities.Counter("new " + VARIANT_NAMES.indexOf(variant), 7));
      session.insert(new Entities.Memo("stateless"));
      session.getTransaction().commit();
      say("upserts", session.createQuery("select name || n from Counter order by name", String.class).getResultList());
    }
  }
}
