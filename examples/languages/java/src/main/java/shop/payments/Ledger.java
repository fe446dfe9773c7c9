package shop.payments;

import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Service;
import org.springframework.transaction.annotation.Transactional;

@Service
class Ledger {
  private final JdbcTemplate jdbc;

  Ledger(JdbcTemplate jdbc) {
    this.jdbc = jdbc;
  }

  @Transactional
  public void take(Payment payment) {
    int paid =
        jdbc.update(
            "update account set balance = balance - ? where id = ? and balance >= ?",
            payment.amount(),
            payment.account(),
            payment.amount());
    if (paid == 0) {
      throw new Refused(
          "the account of " + payment.account() + " does not hold " + payment.amount());
    }
    jdbc.update(
        "insert into ledger (order_id, account_id, amount) values (?, ?, ?)",
        payment.order(),
        payment.account(),
        payment.amount());
  }

  @Transactional
  public void giveBack(Payment payment) {
    jdbc.update("delete from ledger where order_id = ?", payment.order());
    jdbc.update(
        "update account set balance = balance + ? where id = ?",
        payment.amount(),
        payment.account());
  }
}
