package dev.landfall.estate;

import com.fasterxml.jackson.databind.JsonNode;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.openfeign.EnableFeignClients;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** A consumer as teams write it: it knows a name, {@code orders} unless told otherwise, and Eureka tells where that is. */
@SpringBootApplication
@EnableFeignClients(clients = Shop.OrdersClient.class)
public class Shop {
    public static void main(String[] args) {
        SpringApplication.run(Shop.class, args);
    }

    @FeignClient("${CALLS:orders}")
    interface OrdersClient {
        @GetMapping("/orders")
        JsonNode all();

        @GetMapping("/orders/{id}")
        JsonNode one(@PathVariable("id") String id);
    }

    @RestController
    static class ShopController {
        private final OrdersClient orders;

        ShopController(OrdersClient orders) {
            this.orders = orders;
        }

        @GetMapping("/shop/orders")
        JsonNode all() {
            return orders.all();
        }

        @GetMapping("/shop/orders/{id}")
        JsonNode one(@PathVariable("id") String id) {
            return orders.one(id);
        }

        @GetMapping("/shop/ready")
        String ready() {
            return "yes";
        }
    }
}
