package dev.landfall.estate;

import com.fasterxml.jackson.databind.JsonNode;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.openfeign.EnableFeignClients;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** As {@code shop}, but Consul tells where the service is that it calls. */
@SpringBootApplication
@EnableFeignClients(clients = Market.CalledClient.class)
public class Market {
    public static void main(String[] args) {
        SpringApplication.run(Market.class, args);
    }

    @FeignClient("${CALLS:stock}")
    interface CalledClient {
        @GetMapping("/orders")
        JsonNode all();
    }

    @RestController
    static class MarketController {
        private final CalledClient called;

        MarketController(CalledClient called) {
            this.called = called;
        }

        @GetMapping("/market/orders")
        JsonNode all() {
            return called.all();
        }

        @GetMapping("/market/ready")
        String ready() {
            return "yes";
        }
    }
}
