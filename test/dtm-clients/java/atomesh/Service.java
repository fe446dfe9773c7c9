package atomesh;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/** A service that is called: every operation succeeds unless a handler says something else. */
final class Service implements AutoCloseable {
  /** What a handler answers. */
  enum Answer {
    SUCCESS(200),
    FAILURE(409),
    ONGOING(425),
    OUTAGE(500);

    private final int status;

    Answer(int status) {
      this.status = status;
    }
  }

  /** One call of an operation. */
  static final class Request {
    /** As a servlet has them, and the client's barrier takes them. */
    final Map<String, String[]> parameters;
    final String body;
    /** Which call of this operation it is, from 1 on. */
    final int number;

    private Request(Map<String, String[]> parameters, String body, int number) {
      this.parameters = parameters;
      this.body = body;
      this.number = number;
    }

    String parameter(String name) {
      return parameters.get(name)[0];
    }
  }

  interface Handler {
    Answer answer(Request request) throws Exception;
  }

  private final HttpServer server;
  private final Map<String, Handler> handlers = Collections.synchronizedMap(new HashMap<>());
  private final List<String> calls = new ArrayList<>();

  Service() throws IOException {
    server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/", this::serve);
    server.start();
  }

  String url(String operation) {
    return "http://127.0.0.1:" + server.getAddress().getPort() + "/" + operation;
  }

  Service on(String operation, Handler handler) {
    handlers.put(operation, handler);
    return this;
  }

  /** The operations in the order of their calls. */
  synchronized List<String> called() {
    return new ArrayList<>(calls);
  }

  /** Answers the first calls so, one after the other, and succeeds from then on. */
  static Handler atFirst(Answer... answers) {
    return request -> request.number <= answers.length ? answers[request.number - 1] : Answer.SUCCESS;
  }

  static Handler always(Answer answer) {
    return request -> answer;
  }

  @Override
  public void close() {
    server.stop(0);
  }

  private void serve(HttpExchange exchange) throws IOException {
    String operation = exchange.getRequestURI().getPath().substring(1);
    String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
    int number;
    synchronized (this) {
      calls.add(operation);
      number = Collections.frequency(calls, operation);
    }
    Request request = new Request(parametersOf(exchange.getRequestURI().getRawQuery()), body, number);
    Answer answer;
    try {
      answer = handlers.getOrDefault(operation, always(Answer.SUCCESS)).answer(request);
    } catch (Exception error) {
      answer = Answer.OUTAGE;
    }
    byte[] reply = ("{\"dtm_result\":\"" + answer + "\"}").getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("content-type", "application/json");
    exchange.sendResponseHeaders(answer.status, reply.length);
    exchange.getResponseBody().write(reply);
    exchange.close();
  }

  private static Map<String, String[]> parametersOf(String query) {
    Map<String, String[]> parameters = new HashMap<>();
    for (String pair : (query == null ? "" : query).split("&")) {
      String[] parts = pair.split("=", 2);
      String value = parts.length == 1 ? "" : URLDecoder.decode(parts[1], StandardCharsets.UTF_8);
      parameters.put(parts[0], new String[] {value});
    }
    return parameters;
  }
}
