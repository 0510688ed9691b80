package dev.landfall.estate;

import com.netflix.discovery.EurekaClient;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.event.ContextClosedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;

/**
 * On SIGTERM: first DELETE in Eureka, then serve on while callers still hold the old list, then stop.
 *
 * <p>Spring alone stops the web server first and sends the DELETE last, so callers would meet a closed port.
 */
@Component
class DeregisterThenServe {
    private static final Logger LOG = LoggerFactory.getLogger(DeregisterThenServe.class);
    private final EurekaClient eureka;
    private final long graceMs;

    DeregisterThenServe(EurekaClient eureka, @Value("${estate.grace-ms}") long graceMs) {
        this.eureka = eureka;
        this.graceMs = graceMs;
    }

    @EventListener
    @Order(Ordered.HIGHEST_PRECEDENCE)
    public void closing(ContextClosedEvent event) throws InterruptedException {
        if (event.getApplicationContext().getParent() != null) {
            return; // a child context of the load balancer, not the application
        }
        eureka.shutdown();
        LOG.info("deregistered, serving on for {} ms", graceMs);
        Thread.sleep(graceMs);
    }
}
