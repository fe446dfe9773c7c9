import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.Arrays;

/**
 * What the two drivers of Java hear of a server, one line for each thing that was said: {@code java Inside <port> <user> <database> <gid>}.
 * With a gid, what is said belongs to that global transaction. Each variant has the options that make the driver speak differently.
 */
public final class Inside {
  private static final String[] VARIANTS = {
    "mysql?useServerPrepStmts=false",
    "mysql?useServerPrepStmts=true&cachePrepStmts=true",
    "mysql?rewriteBatchedStatements=true&useAffectedRows=true",
    "mysql?useServerPrepStmts=true&rewriteBatchedStatements=true",
    "mariadb?useServerPrepStmts=false&useBulkStmts=false&useBulkStmtsForInserts=false",
    "mariadb?useServerPrepStmts=true&useBulkStmts=false&useBulkStmtsForInserts=false",
    "mariadb?useServerPrepStmts=true&disablePipeline=true&useAffectedRows=true",
  };

  private static String variant;

  private interface Part {
    Object run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    for (int turn = 0; turn < VARIANTS.length; turn++) {
      variant = VARIANTS[turn];
      String[] parts = variant.split("\\?");
      String url = "jdbc:" + parts[0] + "://127.0.0.1:" + arguments[0] + "/" + arguments[2] + "?" + parts[1]
          + "&user=" + arguments[1] + "&allowPublicKeyRetrieval=true&sslMode=" + (parts[0].equals("mysql") ? "DISABLED" : "disable");
      for (boolean commits : new boolean[] {true, false}) {
        try (Connection db = DriverManager.getConnection(url)) {
          // As a pool hands it out: what begins local transactions by itself is set before the global transaction is named.
          db.setAutoCommit(false);
          try (Statement text = db.createStatement()) {
            if (!arguments[3].isEmpty()) text.execute("SET @atomesh_gid = '" + arguments[3] + "'");
            talk(db, text, "j" + turn + (commits ? "k" : "g"));
          }
          say("end", () -> {
            if (commits) db.commit();
            else db.rollback();
            return commits;
          });
        }
      }
    }
    System.out.println("= the end");
  }

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
    System.out.println("= " + variant + " " + name + ": " + said.replaceAll("\\s+", " "));
  }

  private static String describe(SQLException error) {
    // The MariaDB driver begins with the number of the connection.
    return error.getErrorCode() + " " + error.getSQLState() + " " + error.getMessage().replaceAll("conn(?:ection)?=?\\d+", "");
  }

  private static void talk(Connection db, Statement text, String mark) {
    say("insert", () -> {
      try (PreparedStatement insert = db.prepareStatement("insert into item (code, price, name, at, raw, flag) values (?, ?, ?, ?, ?, ?)",
          Statement.RETURN_GENERATED_KEYS)) {
        insert.setString(1, mark);
        insert.setBigDecimal(2, new BigDecimal("12.3400"));
        insert.setString(3, "quo'te\\ä😀");
        insert.setTimestamp(4, Timestamp.valueOf("2001-01-01 00:00:00.5"));
        insert.setBytes(5, new byte[] {0, 1, -1});
        insert.setBoolean(6, true);
        int count = insert.executeUpdate();
        ResultSet keys = insert.getGeneratedKeys();
        return count + " " + keys.next() + (keys.getLong(1) > 0);
      }
    });
    say("batch", () -> {
      try (PreparedStatement insert = db.prepareStatement("insert into item (code, price) values (?, ?)")) {
        for (int i = 0; i < 40; i++) {
          insert.setString(1, mark + i);
          insert.setObject(2, i % 2 == 0 ? null : new BigDecimal(i));
          insert.addBatch();
        }
        return Arrays.toString(insert.executeBatch());
      }
    });
    say("batch of updates", () -> {
      try (PreparedStatement update = db.prepareStatement("update item set note = ? where code = ?")) {
        for (int i = 0; i < 4; i++) {
          update.setString(1, "new " + i);
          update.setString(2, mark + i);
          update.addBatch();
        }
        return Arrays.toString(update.executeBatch());
      }
    });
    say("twice", () -> text.executeUpdate("insert into item (code) values ('" + mark + "')"));
    say("no statement", () -> text.execute("selec"));
    say("savepoint", () -> {
      Savepoint savepoint = db.setSavepoint("a");
      int changed = text.executeUpdate("update counter set n = n + 1000 where name in ('ann', 'bob')");
      db.rollback(savepoint);
      return changed + rows(text.executeQuery("select * from counter order by name"));
    });
    say("upsert", () -> text.executeUpdate("insert into counter values ('" + mark + "', 1), ('ann', 1) on duplicate key update n = n + 1"));
    say("ignored", () -> text.executeUpdate("insert ignore into counter values ('ann', 'x')") + " " + text.getWarnings());
    say("updatable", () -> {
      try (Statement updatable = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
          ResultSet result = updatable.executeQuery("select id, code, price from item where code = '" + mark + "1'")) {
        result.next();
        result.updateBigDecimal("price", new BigDecimal("7"));
        result.updateRow();
        return result.getString("price");
      }
    });
    say("delete", () -> text.executeUpdate("delete from item where code in ('" + mark + "2', '" + mark + "3')"));
    say("rows", () -> rows(text.executeQuery("select code, price, name, at, hex(raw), note from item where code like '" + mark + "%' order by code")));
    say("streamed", () -> {
      try (Statement stream = db.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
        stream.setFetchSize(variant.startsWith("mysql") ? Integer.MIN_VALUE : 10);
        try (ResultSet result = stream.executeQuery("select * from big")) {
          long sum = 0;
          while (result.next()) sum += result.getInt(1) + result.getString(2).length();
          return sum;
        }
      }
    });
  }

  private static String rows(ResultSet result) throws SQLException {
    StringBuilder all = new StringBuilder();
    int count = result.getMetaData().getColumnCount();
    while (result.next()) {
      all.append(" | ");
      for (int i = 1; i <= count; i++) all.append(result.getString(i)).append(',');
    }
    result.close();
    return all.toString();
  }
}
