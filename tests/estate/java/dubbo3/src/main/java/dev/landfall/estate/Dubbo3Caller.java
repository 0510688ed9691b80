package dev.landfall.estate;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * A Dubbo 3.3 consumer as teams write it: it knows the interface, and the registry tells where that is.
 *
 * <p>{@code GET /hello?world} answers what {@code sayHello("world")} did, or 502 with the exception. Settings come from the
 * environment: APPLICATION, ZOOKEEPER (host:port) or REGISTRY (a Dubbo registry URL), PORT_HTTP, GROUP, VERSION, SESSION_MS,
 * MIGRATION (such as FORCE_APPLICATION: which levels of the registry it looks at).
 */
public class Dubbo3Caller {
    public static void main(String[] args) throws IOException {
        ApplicationConfig application = new ApplicationConfig(setting("APPLICATION", "greeting-consumer"));
        application.setQosEnable(false);

        if (!setting("MIGRATION", "").isEmpty()) {
            System.setProperty("dubbo.application.service-discovery.migration", setting("MIGRATION", ""));
        }

        String session = setting("SESSION_MS", "4000");
        RegistryConfig registry = new RegistryConfig(setting("REGISTRY", "zookeeper://" + setting("ZOOKEEPER", "127.0.0.1:2181"))
                + "?session=" + session + "&zk.session.expire=" + session);

        ReferenceConfig<GreetingService> reference = new ReferenceConfig<>();
        reference.setInterface(GreetingService.class);
        reference.setCheck(false);
        if (!setting("GROUP", "").isEmpty()) {
            reference.setGroup(setting("GROUP", ""));
        }
        if (!setting("VERSION", "").isEmpty()) {
            reference.setVersion(setting("VERSION", ""));
        }
        DubboBootstrap.getInstance().application(application).registry(registry).reference(reference).start();
        GreetingService called = reference.get();

        int port = Integer.parseInt(setting("PORT_HTTP", "8084"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/ready", exchange -> answer(exchange, 200, "yes"));
        server.createContext("/hello", exchange -> {
            String query = exchange.getRequestURI().getRawQuery();
            String name = query == null ? "" : URLDecoder.decode(query, StandardCharsets.UTF_8);
            try {
                answer(exchange, 200, called.sayHello(name));
            } catch (RuntimeException exception) {
                answer(exchange, 502, exception.toString());
            }
        });
        server.start();
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
