package dev.landfall.estate;

import com.alibaba.nacos.api.naming.NamingFactory;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executors;

/**
 * A small HTTP service that registers in Nacos through Nacos' own Java client. Every answer names the instance.
 *
 * <pre>
 * any method, any path                     JSON of what arrived
 * GET  /sees/{group}/{service}             the instances the client's own discovery finds, one `ip:port` a line
 * PUT  /register, PUT /deregister          leave and come back while serving
 * </pre>
 */
public class Parts {

    private static final String NAME = setting("NAME", "parts");

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("serverAddr", setting("NACOS", "127.0.0.1:8848"));
        properties.put("namespace", setting("NAMESPACE", ""));
        properties.put("username", setting("NACOS_USER", ""));
        properties.put("password", setting("NACOS_PASSWORD", ""));
        NamingService naming = NamingFactory.createNamingService(properties);
        String service = setting("SERVICE", "parts");
        String group = setting("GROUP", "DEFAULT_GROUP");
        Instance instance = instance();

        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", instance.getPort()), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", Parts::echo);
        server.createContext("/sees/", exchange -> {
            String[] path = exchange.getRequestURI().getPath().split("/", 4);
            StringBuilder found = new StringBuilder();
            try {
                for (Instance one : naming.selectInstances(path[3], path[2], true)) {
                    found.append(one.getIp()).append(':').append(one.getPort()).append('\n');
                }
                answer(exchange, 200, found.toString());
            } catch (Exception problem) {
                answer(exchange, 502, problem.toString());
            }
        });
        server.createContext("/register", exchange -> attempt(exchange, () -> naming.registerInstance(service, group, instance)));
        server.createContext("/deregister", exchange -> attempt(exchange, () -> naming.deregisterInstance(service, group, instance)));
        server.start();
        if (!"false".equals(setting("REGISTER", "true"))) {
            naming.registerInstance(service, group, instance);
        }

        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                naming.deregisterInstance(service, group, instance);
                // Whoever has not heard of it yet still gets an answer.
                Thread.sleep(Long.parseLong(setting("GRACE_MS", "2000")));
                naming.shutDown();
            } catch (Exception problem) {
                System.out.println("not deregistered: " + problem);
            }
            server.stop(0);
        }));
    }

    private static Instance instance() {
        Instance instance = new Instance();
        instance.setIp("127.0.0.1");
        instance.setPort(Integer.parseInt(setting("PORT", "0")));
        instance.setClusterName(setting("CLUSTER", "DEFAULT"));
        instance.setWeight(Double.parseDouble(setting("WEIGHT", "1")));
        instance.setEphemeral(!"false".equals(setting("EPHEMERAL", "true")));
        instance.setEnabled(!"false".equals(setting("ENABLED", "true")));
        Map<String, String> metadata = new LinkedHashMap<>();
        for (String pair : setting("METADATA", "").split(",")) {
            int at = pair.indexOf('=');
            if (at > 0) {
                metadata.put(pair.substring(0, at), pair.substring(at + 1));
            }
        }
        instance.setMetadata(metadata);
        return instance;
    }

    private interface Attempt {
        void run() throws Exception;
    }

    private static void attempt(HttpExchange exchange, Attempt attempt) throws IOException {
        try {
            attempt.run();
            answer(exchange, 200, "done\n");
        } catch (Exception problem) {
            answer(exchange, 502, problem.toString());
        }
    }

    private static void echo(HttpExchange exchange) throws IOException {
        String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        answer(exchange, 200, String.format("{\"service\":%s,\"instance\":%s,\"method\":%s,\"path\":%s,\"body\":%s}\n",
            quoted(setting("SERVICE", "parts")), quoted(NAME), quoted(exchange.getRequestMethod()),
            quoted(exchange.getRequestURI().toString()), quoted(body)));
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("content-type", text.startsWith("{") ? "application/json" : "text/plain");
        exchange.getResponseHeaders().set("x-instance", NAME);
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
