package dev.landfall.estate;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * A Dubbo 2.7 provider on ZooKeeper: interface level only, Dubbo2 protocol only.
 *
 * <p>Settings come from the environment: NAME, APPLICATION, ZOOKEEPER (host:port), PORT_DUBBO, GROUP, VERSION, WEIGHT,
 * SESSION_MS, HOST (own: as Dubbo does by itself, it listens on all addresses and publishes that of a network card).
 */
public class Dubbo27Provider implements LegacyGreetingService {
    private static final String NAME = setting("NAME", "dubbo27");

    public static void main(String[] args) {
        ApplicationConfig application = new ApplicationConfig(setting("APPLICATION", "legacy-greeting-provider"));
        application.setQosEnable(false);

        String session = setting("SESSION_MS", "4000");
        RegistryConfig registry = new RegistryConfig(
                "zookeeper://" + setting("ZOOKEEPER", "127.0.0.1:2181") + "?session=" + session + "&zk.session.expire=" + session);

        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(setting("PORT_DUBBO", "20880")));
        if (!"own".equals(setting("HOST", ""))) {
            protocol.setHost(OnLoopback.BIND);
        }

        ServiceConfig<LegacyGreetingService> service = new ServiceConfig<>();
        service.setInterface(LegacyGreetingService.class);
        service.setRef(new Dubbo27Provider());
        service.setProtocol(protocol);
        if (!setting("GROUP", "").isEmpty()) {
            service.setGroup(setting("GROUP", ""));
        }
        if (!setting("VERSION", "").isEmpty()) {
            service.setVersion(setting("VERSION", ""));
        }
        Map<String, String> parameters = new HashMap<>();
        parameters.put("weight", setting("WEIGHT", "100"));
        service.setParameters(parameters);

        DubboBootstrap.getInstance().application(application).registry(registry).service(service).start().await();
    }

    @Override
    public String sayHello(String name) {
        if ("fail".equals(name)) {
            throw new IllegalArgumentException("asked to fail");
        }
        if (name.startsWith("slowly ")) {
            LockSupport.parkNanos(Long.parseLong(name.substring(7)) * 1_000_000);
        }
        return "Hello " + name + ", from " + NAME;
    }

    @Override
    public int add(int left, int right) {
        return left + right;
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
