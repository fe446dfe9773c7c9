package shop.payments;

import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.ProblemDetail;
import org.springframework.stereotype.Component;
import org.springframework.web.client.HttpClientErrorException;
import org.springframework.web.client.RestClient;

/** The points service: one point for each whole unit of money. */
@Component
class Points {
  private final RestClient points;

  Points(RestClient.Builder builder, @Value("${points.url}") String url) {
    points = builder.baseUrl(url).build();
  }

  void grant(Payment payment) {
    try {
      points
          .post()
          .uri("/points")
          .body(
              Map.of(
                  "order",
                  payment.order(),
                  "member",
                  payment.account(),
                  "points",
                  payment.amount().intValue()))
          .retrieve()
          .toBodilessEntity();
    } catch (HttpClientErrorException.Conflict refused) {
      throw new Refused(refused.getResponseBodyAs(ProblemDetail.class).getDetail());
    }
  }
}
