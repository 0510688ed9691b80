package dev.landfall.estate;

import com.alibaba.dubbo.config.ApplicationConfig;
import com.alibaba.dubbo.config.ReferenceConfig;
import com.alibaba.dubbo.rpc.RpcContext;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * A Dubbo 2.6 consumer as teams write it, which is led to a provider by a URL.
 *
 * <p>{@code GET /hello?world} answers what {@code sayHello("world")} did, or 502 with the exception; {@code /later} asks
 * without waiting, {@code /oneway} without an answer, {@code /large?N} with N characters, {@code /many?N} from N threads
 * twenty times each. URL is the provider's; TIMEOUT_MS (1000) and RETRIES (2) are the reference's. Other settings come from the
 * environment: APPLICATION, PORT_HTTP, GROUP, VERSION.
 */
public class Dubbo26Caller {
    public static void main(String[] args) throws IOException {
        ApplicationConfig application = new ApplicationConfig(setting("APPLICATION", "legacy-greeting-consumer"));
        application.setQosEnable(false);

        ReferenceConfig<LegacyGreetingService> reference = new ReferenceConfig<>();
        reference.setInterface(LegacyGreetingService.class);
        reference.setCheck(false);
        if (!setting("GROUP", "").isEmpty()) {
            reference.setGroup(setting("GROUP", ""));
        }
        if (!setting("VERSION", "").isEmpty()) {
            reference.setVersion(setting("VERSION", ""));
        }
        reference.setUrl(setting("URL", "dubbo://127.0.0.1:20880"));
        reference.setTimeout(Integer.parseInt(setting("TIMEOUT_MS", "1000")));
        reference.setRetries(Integer.parseInt(setting("RETRIES", "2")));
        reference.setApplication(application);
        LegacyGreetingService called = reference.get();

        int port = Integer.parseInt(setting("PORT_HTTP", "8084"));
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/ready", exchange -> answer(exchange, 200, "yes"));
        server.createContext("/hello", exchange -> {
            respond(exchange, called::sayHello);
        });
        server.createContext("/later", exchange -> {
            respond(exchange, name -> RpcContext.getContext().asyncCall(() -> called.sayHello(name)).get());
        });
        server.createContext("/oneway", exchange -> {
            respond(exchange, name -> {
                RpcContext.getContext().asyncCall(() -> {
                    called.sayHello(name);
                });
                return "sent";
            });
        });
        server.createContext("/large", exchange -> {
            respond(exchange, size -> {
                String name = "x".repeat(Integer.parseInt(size));
                String text = called.sayHello(name);
                return text.startsWith("Hello " + name + ", from ") ? "whole" : "not what was sent: " + text.length();
            });
        });
        server.createContext("/many", exchange -> {
            respond(exchange, count -> many(called, Integer.parseInt(count)));
        });
        server.start();
    }

    /** Calls from that many threads at once; what each got must be its own. */
    private static String many(LegacyGreetingService called, int count) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        try {
            List<Future<Boolean>> calls = new ArrayList<>();
            for (int caller = 0; caller < count; caller++) {
                String name = "caller-" + caller;
                calls.add(threads.submit(() -> {
                    boolean own = true;
                    for (int turn = 0; turn < 20; turn++) {
                        own &= called.sayHello(name + "-" + turn).startsWith("Hello " + name + "-" + turn + ", from ");
                    }
                    return own;
                }));
            }
            int good = 0;
            for (Future<Boolean> call : calls) {
                good += call.get() ? 1 : 0;
            }
            return good + " of " + count;
        } finally {
            threads.shutdownNow();
        }
    }

    /** What is done with the text behind the question mark. */
    private interface Asked {
        Object of(String text) throws Exception;
    }

    private static void respond(HttpExchange exchange, Asked asked) throws IOException {
        String query = exchange.getRequestURI().getRawQuery();
        String text = query == null ? "" : URLDecoder.decode(query, StandardCharsets.UTF_8);
        try {
            answer(exchange, 200, String.valueOf(asked.of(text)));
        } catch (Exception exception) {
            answer(exchange, 502, exception.toString());
        }
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
