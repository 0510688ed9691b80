package dev.landfall.estate;

import jakarta.servlet.http.HttpServletRequest;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Every answer names the instance that gave it. */
@RestController
public class OrdersController {
    private final Map<String, Object> self = new LinkedHashMap<>();

    OrdersController(@Value("${estate.name}") String name,
                     @Value("${eureka.instance.instance-id}") String instanceId,
                     @Value("${server.port}") int port) {
        self.put("service", "orders");
        self.put("instance", name);
        self.put("instanceId", instanceId);
        self.put("port", port);
    }

    @GetMapping("/orders")
    Map<String, Object> all() {
        return answer("orders", List.of(Map.of("id", "1", "item", "rope"), Map.of("id", "2", "item", "anchor")));
    }

    /** {@code delayMs} keeps the call in flight, to watch what becomes of it when this instance ends. */
    @GetMapping("/orders/{id}")
    Map<String, Object> one(@PathVariable String id, @RequestParam(defaultValue = "0") long delayMs)
            throws InterruptedException {
        Thread.sleep(delayMs);
        return answer("order", Map.of("id", id, "item", "rope"));
    }

    /** What arrived here: the way to see what a gateway did to a request. */
    @RequestMapping("/echo/**")
    Map<String, Object> echo(HttpServletRequest request, @RequestBody(required = false) String body) {
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("method", request.getMethod());
        seen.put("path", request.getRequestURI());
        seen.put("query", request.getQueryString());
        Map<String, String> headers = new LinkedHashMap<>();
        for (String header : Collections.list(request.getHeaderNames())) {
            headers.put(header.toLowerCase(), String.join(", ", Collections.list(request.getHeaders(header))));
        }
        seen.put("headers", headers);
        seen.put("body", body);
        return answer("echo", seen);
    }

    private Map<String, Object> answer(String key, Object value) {
        Map<String, Object> answer = new LinkedHashMap<>(self);
        answer.put(key, value);
        return answer;
    }
}
