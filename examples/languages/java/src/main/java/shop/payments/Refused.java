package shop.payments;

import org.springframework.http.HttpStatus;
import org.springframework.web.server.ResponseStatusException;

/** What was asked for cannot be had. */
class Refused extends ResponseStatusException {
  Refused(String reason) {
    super(HttpStatus.CONFLICT, reason);
  }
}
