package shop.payments;

import java.math.BigDecimal;

/** What an order costs an account. */
record Payment(String order, String account, BigDecimal amount) {}
