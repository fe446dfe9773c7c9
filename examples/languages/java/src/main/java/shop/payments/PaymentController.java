package shop.payments;

import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

@RestController
class PaymentController {
  private final Ledger ledger;
  private final Points points;

  PaymentController(Ledger ledger, Points points) {
    this.ledger = ledger;
    this.points = points;
  }

  @GetMapping("/health")
  void health() {}

  @PostMapping("/payments")
  @ResponseStatus(HttpStatus.CREATED)
  Payment pay(@RequestBody Payment payment) {
    ledger.take(payment);
    points.grant(payment);
    return payment;
  }

  @PostMapping("/charges")
  @ResponseStatus(HttpStatus.CREATED)
  Payment charge(@RequestBody Payment payment) {
    ledger.take(payment);
    return payment;
  }

  /** Takes a charge back. */
  @PostMapping("/refunds")
  Payment refund(@RequestBody Payment payment) {
    ledger.giveBack(payment);
    return payment;
  }
}
