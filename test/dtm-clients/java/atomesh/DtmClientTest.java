package atomesh;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertThrows;

import atomesh.Service.Answer;
import atomesh.Service.Handler;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import pub.dtm.client.DtmClient;
import pub.dtm.client.barrier.BranchBarrier;
import pub.dtm.client.saga.Saga;
import pub.dtm.client.tcc.Tcc;

/**
 * DTM's published Java client, unchanged, against a coordinator of Atomesh. Its setters of a saga's timeout, retry interval and
 * headers call themselves without end in this version, so those stay as they are.
 */
public final class DtmClientTest {
  private static final String COORDINATOR = System.getenv("ATOMESH_HTTP");
  private static final Map<String, Integer> TRANSFER = Collections.singletonMap("amount", 30);
  private static final Pattern STATUS = Pattern.compile("\"transaction\":\\{.*?\"status\":\"(\\w+)\"");

  private final DtmClient client = new DtmClient(COORDINATOR.substring("http://".length()));
  private final HttpClient http = HttpClient.newHttpClient();
  private Service bank;

  @Before
  public void start() throws Exception {
    bank = new Service();
  }

  @After
  public void stop() {
    bank.close();
  }

  @Test
  public void aSagaSucceeds() throws Exception {
    List<String> seen = Collections.synchronizedList(new ArrayList<>());
    bank.on("Out", request -> {
      seen.add(request.body + " " + request.parameter("trans_type") + " " + request.parameter("branch_id") + " " + request.parameter("op"));
      return Answer.SUCCESS;
    });
    String gid = saga("Out", "In").submit();
    assertEnds(gid, "succeed");
    assertCalls("Out", "In");
    assertEquals(Collections.singletonList("{\"amount\":30} saga 01 action"), seen);
  }

  @Test
  public void aSagaIsCompensatedInReverse() throws Exception {
    bank.on("In", Service.always(Answer.FAILURE));
    String gid = saga("Out", "In").submit();
    assertEnds(gid, "failed");
    assertCalls("Out", "In", "InRevert", "OutRevert");
  }

  @Test
  public void aSagaWaitsForItsResult() throws Exception {
    String gid = saga("Out", "In").enableWaitResult().submit();
    assertEquals("succeed", status(gid));
    bank.on("In", Service.always(Answer.FAILURE));
    Saga failing = saga("Out", "In").enableWaitResult();
    assertThrows(Exception.class, failing::submit);
    assertEnds(failing.getGid(), "failed");
  }

  @Test
  public void aSagaAsksAgainWhileABranchIsOngoingOrInTrouble() throws Exception {
    bank.on("Out", Service.atFirst(Answer.ONGOING)).on("In", Service.atFirst(Answer.OUTAGE));
    String gid = saga("Out", "In").submit();
    assertEnds(gid, "succeed");
    assertCalls("Out", "Out", "In", "In");
  }

  @Test
  public void aSagaKeepsItsOrders() throws Exception {
    CountDownLatch both = new CountDownLatch(2);
    Handler meet = request -> {
      both.countDown();
      return both.await(10, TimeUnit.SECONDS) ? Answer.SUCCESS : Answer.FAILURE;
    };
    bank.on("A", meet).on("B", meet);
    Saga saga = saga("A", "B", "C").enableConcurrent().addBranchOrder(2, Arrays.asList(0, 1)).enableWaitResult();
    assertEquals("succeed", status(saga.submit()));
    assertEquals("C", bank.called().get(2));
  }

  @Test
  public void aSagaTakesEffectOnceBehindTheBarrier() throws Exception {
    String payer = account(100);
    bank.on("Out", thenOutage(moving(payer, -30)));
    String gid = saga("Out").submit();
    assertEnds(gid, "succeed");
    assertCalls("Out", "Out");
    assertEquals(70, balance(payer));
  }

  @Test
  public void aTccIsConfirmedInReverse() throws Exception {
    String gid = client.tccGlobalTransaction(tcc -> tryAll(tcc, "Out", "In"));
    assertEnds(gid, "succeed");
    assertCalls("OutTry", "InTry", "InConfirm", "OutConfirm");
  }

  @Test
  public void aTccHasTheGidThatItIsGiven() throws Exception {
    String gid = UUID.randomUUID().toString();
    assertEquals(gid, client.tccGlobalTransaction(gid, tcc -> tryAll(tcc, "Out")));
    assertEnds(gid, "succeed");
  }

  @Test
  public void aTccIsCancelledWhenATryFails() throws Exception {
    bank.on("InTry", Service.always(Answer.FAILURE));
    String gid = UUID.randomUUID().toString();
    assertThrows(Exception.class, () -> client.tccGlobalTransaction(gid, tcc -> tryAll(tcc, "Out", "In")));
    assertEnds(gid, "failed");
    assertCalls("OutTry", "InTry", "InCancel", "OutCancel");
  }

  @Test
  public void aTccIsConfirmedUntilItSucceeds() throws Exception {
    bank.on("OutConfirm", Service.atFirst(Answer.OUTAGE, Answer.ONGOING));
    assertEnds(client.tccGlobalTransaction(tcc -> tryAll(tcc, "Out")), "succeed");
    assertCalls("OutTry", "OutConfirm", "OutConfirm", "OutConfirm");
  }

  @Test
  public void aTccUndoesOnlyWhatHasTakenEffect() throws Exception {
    String payer = account(100);
    bank.on("OutTry", moving(payer, -30)).on("OutCancel", thenOutage(moving(payer, 30)));
    bank.on("InTry", Service.always(Answer.FAILURE)).on("InCancel", moving(payer, 1000));
    String gid = UUID.randomUUID().toString();
    assertThrows(Exception.class, () -> client.tccGlobalTransaction(gid, tcc -> tryAll(tcc, "Out", "In")));
    assertEnds(gid, "failed");
    assertCalls("OutTry", "InTry", "InCancel", "OutCancel", "OutCancel");
    assertEquals(100, balance(payer));
  }

  private Saga saga(String... steps) {
    Saga saga = client.newSaga();
    for (String step : steps) {
      saga.add(bank.url(step), bank.url(step + "Revert"), TRANSFER);
    }
    return saga;
  }

  private void tryAll(Tcc tcc, String... steps) throws Exception {
    for (String step : steps) {
      assertNotNull(tcc.callBranch(TRANSFER, bank.url(step + "Try"), bank.url(step + "Confirm"), bank.url(step + "Cancel")));
    }
  }

  /** Moves money behind the barrier, as the documentation of the client does it. */
  private static Handler moving(String account, int amount) {
    return request -> {
      try (Connection connection = connect()) {
        new BranchBarrier(request.parameters).call(connection, barrier ->
            execute(connection, "update bank.account set balance = balance + " + amount + " where name = '" + account + "'"));
      }
      return Answer.SUCCESS;
    };
  }

  /** Does the work, and has its answer lost the first time. */
  private static Handler thenOutage(Handler work) {
    return request -> {
      Answer answer = work.answer(request);
      return request.number == 1 ? Answer.OUTAGE : answer;
    };
  }

  /** The client's barrier names its table without a database: the connection's own one has to be that of the table. */
  private static Connection connect() throws SQLException {
    return DriverManager.getConnection("jdbc:mariadb://127.0.0.1:" + System.getenv("MARIADB_PORT") + "/dtm_barrier?user=atomesh");
  }

  private static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.executeUpdate(sql);
    }
  }

  private static String account(int balance) throws SQLException {
    String name = UUID.randomUUID().toString();
    try (Connection connection = connect()) {
      execute(connection, "insert into bank.account (name, balance) values ('" + name + "', " + balance + ")");
    }
    return name;
  }

  private static int balance(String account) throws SQLException {
    try (Connection connection = connect();
        Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("select balance from bank.account where name = '" + account + "'")) {
      if (rows.next()) {
        return rows.getInt(1);
      }
      throw new IllegalStateException("there is no account " + account);
    }
  }

  private void assertCalls(String... expected) {
    assertEquals(Arrays.asList(expected), bank.called());
  }

  private String status(String gid) throws Exception {
    URI uri = URI.create(COORDINATOR + "/api/dtmsvr/query?gid=" + gid);
    String answer = http.send(HttpRequest.newBuilder(uri).build(), BodyHandlers.ofString()).body();
    Matcher found = STATUS.matcher(answer);
    return found.find() ? found.group(1) : answer;
  }

  /** Waits until the transaction has ended, at most 20 s. */
  private void assertEnds(String gid, String expected) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    String found = status(gid);
    while (!found.equals("succeed") && !found.equals("failed") && System.nanoTime() < deadline) {
      Thread.sleep(20);
      found = status(gid);
    }
    assertEquals(expected, found);
  }
}
