import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.sql.XAConnection;
import javax.sql.XADataSource;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;

/**
 * What the two drivers of Java hear of a server, one line for each thing that was said:
 * {@code java Talk <port> <user> <password> <database>}. Each variant has the options that make the driver speak differently.
 */
public final class Talk {
  private static final String[] VARIANTS = {
    "mysql?useServerPrepStmts=false",
    "mysql?useServerPrepStmts=true&cachePrepStmts=true&useCursorFetch=true&defaultFetchSize=2",
    "mysql?useServerPrepStmts=true&rewriteBatchedStatements=true&useAffectedRows=true&useLocalSessionState=true",
    "mysql?rewriteBatchedStatements=true&elideSetAutoCommits=true&cacheServerConfiguration=true&useCompression=true",
    "mariadb?useServerPrepStmts=false",
    "mariadb?useServerPrepStmts=true&useBulkStmts=true&useBulkStmtsForInserts=true",
    "mariadb?useServerPrepStmts=true&disablePipeline=true&defaultFetchSize=2&useAffectedRows=true",
    "mariadb?allowMultiQueries=true&useCompression=true&connectionAttributes=program:talk",
  };

  private static String variant;
  private static String url;
  private static String user;
  private static String password;

  private interface Part {
    Object run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    user = arguments[1];
    password = arguments[2];
    for (String each : VARIANTS) {
      variant = each;
      String[] parts = each.split("\\?");
      url = "jdbc:" + parts[0] + "://127.0.0.1:" + arguments[0] + "/" + arguments[3] + "?" + parts[1]
          + "&allowMultiQueries=true&allowPublicKeyRetrieval=true&sslMode=" + (parts[0].equals("mysql") ? "DISABLED" : "disable");
      try (Connection connection = open()) {
        talk(connection);
      }
    }
    System.out.println("= the end");
  }

  private static Connection open() throws SQLException {
    return DriverManager.getConnection(url, user, password);
  }

  /** Writes what a part answers, or the error that it ends with. */
  private static void say(String name, Part part) {
    String said;
    try {
      said = String.valueOf(part.run());
    } catch (BatchUpdateException error) {
      said = describe(error) + Arrays.toString(error.getUpdateCounts());
    } catch (SQLException error) {
      said = describe(error);
    } catch (Exception error) {
      said = error.toString();
    }
    String line = said.length() > 400 ? said.length() + " " + said.hashCode() : said;
    System.out.println("= " + variant + " " + name + ": " + line.replaceAll("\\s+", " "));
  }

  private static String describe(SQLException error) {
    // The MariaDB driver begins with the number of the connection. MariaDB numbers statements on from a connection whose memory it uses again.
    String message = error.getMessage().replaceAll("conn(?:ection)?=?\\d+", "").replaceAll("handler \\(\\d+\\)", "handler");
    return error.getErrorCode() + " " + error.getSQLState() + " " + message;
  }

  private static void talk(Connection db) throws Exception {
    Statement text = db.createStatement();
    say("server", () -> db.getMetaData().getDatabaseProductVersion() + db.getCatalog() + db.getTransactionIsolation());
    say("tables", () -> text.executeUpdate("drop table if exists java_row")
        + text.executeUpdate("create table java_row (id int auto_increment primary key, price decimal(12,4), name varchar(60),"
            + " at datetime(6), raw mediumblob, flag bit(1), big bigint unsigned, unique (name))"));
    say("inserted", () -> text.executeUpdate("insert into java_row (price, name, at, flag, big) values"
        + " (1.5, 'ä€😀', '2024-02-29 23:59:59.999999', b'1', 18446744073709551615), (null, null, null, null, null)",
        Statement.RETURN_GENERATED_KEYS) + rows(text.getGeneratedKeys()));
    say("twice", () -> text.executeUpdate("insert into java_row (id) values (1)"));
    say("no statement", () -> text.execute("selec"));
    say("warnings", () -> rows(text.executeQuery("select 1/0, cast('x' as signed)")) + text.getWarnings());
    say("several", () -> all(text, text.execute("select 1; update java_row set name = name; select 2 from dual where false; selec")));
    say("columns", () -> rows(db.getMetaData().getColumns(db.getCatalog(), null, "java_row", null)));
    say("keys", () -> rows(db.getMetaData().getIndexInfo(db.getCatalog(), null, "java_row", false, false)));
    prepared(db);
    batches(db);
    transactions(db, text);
    rare(db, text);
  }

  private static void prepared(Connection db) {
    say("prepared", () -> {
      try (PreparedStatement insert = db.prepareStatement("insert into java_row (price, name, at, raw, flag) values (?, ?, ?, ?, ?)",
          Statement.RETURN_GENERATED_KEYS)) {
        insert.setBigDecimal(1, new BigDecimal("12.3400"));
        insert.setCharacterStream(2, new StringReader("quo'te\\"));
        insert.setTimestamp(3, Timestamp.valueOf("2001-01-01 00:00:00.5"));
        insert.setBinaryStream(4, new ByteArrayInputStream(new byte[3_000_000]), 3_000_000);
        insert.setBoolean(5, true);
        int first = insert.executeUpdate();
        insert.setNull(1, Types.DECIMAL);
        insert.setString(2, "again");
        insert.setBytes(4, new byte[] {0, 1, -1});
        return first + " " + insert.executeUpdate() + rows(insert.getGeneratedKeys());
      }
    });
    say("read", () -> {
      try (PreparedStatement select = db.prepareStatement("select *, length(raw) from java_row where id > ? and id < ? order by id")) {
        List<String> all = new ArrayList<>();
        for (int from = 0; from < 3; from++) {
          select.setInt(1, from);
          select.setLong(2, 1000);
          all.add(rows(select.executeQuery()));
        }
        return all;
      }
    });
    say("cannot be prepared", () -> db.prepareStatement("selec ?").execute());
    say("updatable", () -> {
      try (Statement updatable = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
          ResultSet result = updatable.executeQuery("select id, name, price from java_row where id = 1")) {
        result.next();
        result.updateBigDecimal("price", new BigDecimal("7"));
        result.updateRow();
        return result.getString("price");
      }
    });
  }

  private static void batches(Connection db) {
    for (int size : new int[] {3, 500}) {
      say("batch of " + size, () -> {
        try (PreparedStatement insert = db.prepareStatement("insert into java_row (name, price) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
          for (int i = 0; i < size; i++) {
            insert.setString(1, "batch " + size + " " + i);
            insert.setObject(2, i % 2 == 0 ? null : new BigDecimal(i));
            insert.addBatch();
          }
          return Arrays.toString(insert.executeBatch()) + rows(insert.getGeneratedKeys());
        }
      });
    }
    say("batch with an error", () -> {
      try (PreparedStatement update = db.prepareStatement("update java_row set name = ? where id = ?")) {
        for (int i = 1; i <= 4; i++) {
          update.setString(1, i == 3 ? "n".repeat(100) : "new " + i);
          update.setInt(2, i);
          update.addBatch();
        }
        return Arrays.toString(update.executeBatch());
      }
    });
    say("batch of texts", () -> {
      try (Statement batch = db.createStatement()) {
        for (int i = 0; i < 6; i++) batch.addBatch("update java_row set price = " + i + " where id = " + i);
        batch.addBatch("selec");
        batch.addBatch("delete from java_row where id = 2");
        return Arrays.toString(batch.executeBatch());
      }
    });
  }

  private static void transactions(Connection db, Statement text) throws SQLException {
    say("savepoints", () -> {
      db.setAutoCommit(false);
      text.executeUpdate("insert into java_row (name) values ('gone')");
      Savepoint savepoint = db.setSavepoint("a");
      text.executeUpdate("insert into java_row (name) values ('gone too')");
      String inside = count(text);
      db.rollback(savepoint);
      String back = count(text);
      db.rollback();
      return inside + back + count(text);
    });
    say("read only", () -> {
      db.commit();
      db.setReadOnly(true);
      return text.executeUpdate("delete from java_row");
    });
    say("isolation", () -> {
      db.rollback();
      db.setReadOnly(false);
      db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      String inside = rows(text.executeQuery("select @@tx_isolation"));
      db.commit();
      db.setAutoCommit(true);
      return inside + db.getTransactionIsolation();
    });
    db.setAutoCommit(true);
  }

  private static void rare(Connection db, Statement text) {
    say("procedure", () -> {
      text.execute("drop procedure if exists java_twice");
      text.execute("create procedure java_twice(in a int, inout b int, out c varchar(9)) begin set b = a + b; set c = 'c'; select a; select b; end");
      try (CallableStatement call = db.prepareCall("{call java_twice(?, ?, ?)}")) {
        call.setInt(1, 4);
        call.setInt(2, 5);
        call.registerOutParameter(2, Types.INTEGER);
        call.registerOutParameter(3, Types.VARCHAR);
        return all(call, call.execute()) + call.getInt(2) + call.getString(3);
      }
    });
    say("streamed", () -> {
      try (Statement stream = db.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
        stream.setFetchSize(variant.startsWith("mysql") ? Integer.MIN_VALUE : 10);
        try (ResultSet result = stream.executeQuery("select seq, repeat('x', 1000) from seq_1_to_3000")) {
          long sum = 0;
          while (result.next()) sum += result.getInt(1) + result.getString(2).length();
          return sum;
        }
      }
    });
    // A second connection kills the statement of the first, by its number.
    say("in time", () -> {
      try (Statement slow = db.createStatement()) {
        slow.setQueryTimeout(1);
        slow.executeQuery("select benchmark(1000000000, md5('x'))");
        return "in time";
      } catch (java.sql.SQLTimeoutException error) {
        return "too late";
      }
    });
    say("17 MiB", () -> {
      try (PreparedStatement large = db.prepareStatement("select length(?), md5(?)")) {
        large.setString(1, "l".repeat(17 << 20));
        large.setString(2, "m".repeat(17 << 20));
        return rows(large.executeQuery());
      }
    });
    say("valid", () -> db.isValid(2));
    say("as new", () -> {
      text.execute("set @here = 1");
      if (db instanceof com.mysql.cj.jdbc.JdbcConnection connection) connection.resetServerState();
      else ((org.mariadb.jdbc.Connection) db).reset();
      return rows(text.executeQuery("select @here"));
    });
    say("another user", () -> {
      if (!(db instanceof com.mysql.cj.jdbc.JdbcConnection connection)) return "";
      text.execute("set @here = 1");
      connection.changeUser(user, password);
      return rows(text.executeQuery("select @here"));
    });
    say("XA", () -> branch(XAResource.TMNOFLAGS));
    say("XA in one phase", () -> branch(XAResource.TMONEPHASE));
  }

  private static String branch(int flag) throws Exception {
    XADataSource source;
    if (variant.startsWith("mysql")) {
      com.mysql.cj.jdbc.MysqlXADataSource mysql = new com.mysql.cj.jdbc.MysqlXADataSource();
      mysql.setUrl(url);
      source = mysql;
    } else {
      source = new org.mariadb.jdbc.MariaDbDataSource(url);
    }
    XAConnection connection = source.getXAConnection(user, password);
    try {
      XAResource resource = connection.getXAResource();
      Xid xid = new Id();
      resource.start(xid, XAResource.TMNOFLAGS);
      Statement text = connection.getConnection().createStatement();
      String changed = text.executeUpdate("update java_row set price = price + 1 where id = 1") + count(text);
      resource.end(xid, XAResource.TMSUCCESS);
      boolean isOnePhase = flag == XAResource.TMONEPHASE;
      String prepared = isOnePhase ? "" : resource.prepare(xid) + " " + resource.recover(XAResource.TMSTARTRSCAN).length;
      resource.commit(xid, isOnePhase);
      return changed + prepared;
    } finally {
      connection.close();
    }
  }

  private static final class Id implements Xid {
    @Override
    public int getFormatId() {
      return 7;
    }

    @Override
    public byte[] getGlobalTransactionId() {
      return new byte[] {0, 1, 'g', -1};
    }

    @Override
    public byte[] getBranchQualifier() {
      return new byte[] {'b'};
    }
  }

  private static String count(Statement text) throws SQLException {
    return rows(text.executeQuery("select count(*) from java_row"));
  }

  /** Every result of a statement, with its counts. */
  private static String all(Statement statement, boolean isFirstResult) throws SQLException {
    StringBuilder all = new StringBuilder();
    boolean isResult = isFirstResult;
    while (true) {
      int count = isResult ? -1 : statement.getUpdateCount();
      if (!isResult && count == -1) return all.toString();
      all.append(isResult ? rows(statement.getResultSet()) : "(" + count + ")");
      try {
        isResult = statement.getMoreResults();
      } catch (SQLException error) {
        return all.append(describe(error)).toString();
      }
    }
  }

  /** Names and types of the columns, and the values as text. */
  private static String rows(ResultSet result) throws SQLException {
    StringBuilder all = new StringBuilder("[");
    ResultSetMetaData columns = result.getMetaData();
    for (int i = 1; i <= columns.getColumnCount(); i++) {
      all.append(columns.getColumnLabel(i)).append(' ').append(columns.getColumnTypeName(i)).append(' ')
          .append(columns.getPrecision(i)).append(columns.isNullable(i)).append(',');
    }
    while (result.next()) {
      all.append(" | ");
      for (int i = 1; i <= columns.getColumnCount(); i++) all.append(result.getString(i)).append(',');
    }
    result.close();
    return all.append(']').toString();
  }
}
