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

/** As {@code shop}, but Nacos tells where the service is that it calls, by Spring Cloud Alibaba. */
@SpringBootApplication
@EnableFeignClients(clients = Wharf.CalledClient.class)
public class Wharf {
    public static void main(String[] args) {
        SpringApplication.run(Wharf.class, args);
    }

    @FeignClient("${CALLS:parts}")
    interface CalledClient {
        @GetMapping("/orders")
        JsonNode all();
    }

    @RestController
    static class WharfController {
        private final CalledClient called;
        private final Map<String, String> self;

        WharfController(CalledClient called, @Value("${spring.application.name}") String service,
                        @Value("${NAME:wharf}") String instance) {
            this.called = called;
            this.self = Map.of("service", service, "instance", instance);
        }

        /** So that a wharf can be the service that another one calls. */
        @GetMapping("/orders")
        Map<String, String> orders() {
            return self;
        }

        @GetMapping("/wharf/orders")
        JsonNode all() {
            return called.all();
        }

        @GetMapping("/wharf/ready")
        String ready() {
            return "yes";
        }
    }
}
