package dev.landfall.estate;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
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
        private final Map<String, String> self;

        MarketController(CalledClient called, @Value("${spring.application.name}") String service,
                         @Value("${NAME:market}") String instance) {
            this.called = called;
            this.self = Map.of("service", service, "instance", instance);
        }

        /** So that a market can be the service that another one calls. */
        @GetMapping("/orders")
        Map<String, String> orders() {
            return self;
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
