package shop.payments;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import javax.sql.DataSource;
import org.springframework.boot.web.client.RestClientCustomizer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.jdbc.support.JdbcTransactionManager;
import org.springframework.lang.Nullable;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.web.context.request.RequestContextHolder;
import org.springframework.web.context.request.ServletRequestAttributes;

/**
 * Passes the name of the global transaction on: from the request into SQL and into calls. The
 * service needs no more than this. The name is opaque, and there is none when nobody has begun a
 * global transaction.
 */
@Configuration
class GlobalTransaction {
  private static final String HEADER = "atomesh-gid";

  /** Names it in each local transaction, ahead of what a {@code @Transactional} method does. */
  @Bean
  JdbcTransactionManager transactionManager(DataSource dataSource) {
    return new JdbcTransactionManager(dataSource) {
      @Override
      protected void prepareTransactionalConnection(
          Connection connection, TransactionDefinition definition) throws SQLException {
        super.prepareTransactionalConnection(connection, definition);
        String gid = gid();
        if (gid == null) {
          return;
        }
        try (PreparedStatement join =
            connection.prepareStatement("select set_config('atomesh.gid', ?, true)")) {
          join.setString(1, gid);
          join.execute();
        }
      }
    };
  }

  /** Names it in each call to another service. */
  @Bean
  RestClientCustomizer passOn() {
    return builder ->
        builder.requestInterceptor(
            (request, body, execution) -> {
              String gid = gid();
              if (gid != null) {
                request.getHeaders().set(HEADER, gid);
              }
              return execution.execute(request, body);
            });
  }

  /** That of the request which this thread is serving. */
  @Nullable
  private static String gid() {
    return RequestContextHolder.getRequestAttributes() instanceof ServletRequestAttributes request
        ? request.getRequest().getHeader(HEADER)
        : null;
  }
}
