package dev.landfall.estate;

import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * A Dubbo 3.3 provider on ZooKeeper, registered at both levels (interface and application).
 *
 * <p>Settings come from the environment: NAME, APPLICATION, ZOOKEEPER (host:port) or REGISTRY (a Dubbo registry URL), PORT_DUBBO, PORT_TRI, GROUP, VERSION,
 * REGISTER_MODE (all, interface, instance), METADATA_TYPE (remote, local), SESSION_MS, HOST (own: as Dubbo does by itself, it listens on all addresses and publishes
 * that of a network card).
 */
public class Dubbo3Provider implements GreetingService {
    private static final String NAME = setting("NAME", "dubbo3");

    public static void main(String[] args) {
        ApplicationConfig application = new ApplicationConfig(setting("APPLICATION", "greeting-provider"));
        application.setRegisterMode(setting("REGISTER_MODE", "all"));
        application.setMetadataType(setting("METADATA_TYPE", "remote"));
        application.setQosEnable(false);

        String session = setting("SESSION_MS", "4000");
        RegistryConfig registry = new RegistryConfig(setting("REGISTRY", "zookeeper://" + setting("ZOOKEEPER", "127.0.0.1:2181"))
                + "?session=" + session + "&zk.session.expire=" + session);

        ServiceConfig<GreetingService> service = new ServiceConfig<>();
        service.setInterface(GreetingService.class);
        service.setRef(new Dubbo3Provider());
        service.setProtocols(List.of(protocol("dubbo", "PORT_DUBBO", 20880), protocol("tri", "PORT_TRI", 50051)));
        if (!setting("GROUP", "").isEmpty()) {
            service.setGroup(setting("GROUP", ""));
        }
        if (!setting("VERSION", "").isEmpty()) {
            service.setVersion(setting("VERSION", ""));
        }

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
    public Greeting greet(GreetingRequest request) {
        Greeting greeting = new Greeting();
        greeting.setText(("Hello " + request.getName() + ". ").repeat(request.getTimes()).strip());
        greeting.setInstance(NAME);
        return greeting;
    }

    @Override
    public Greeting greeting(String name) {
        GreetingRequest request = new GreetingRequest();
        request.setName(name);
        return greet(request);
    }

    private static ProtocolConfig protocol(String name, String portSetting, int defaultPort) {
        ProtocolConfig protocol = new ProtocolConfig(name, Integer.parseInt(setting(portSetting, "" + defaultPort)));
        if (!"own".equals(setting("HOST", ""))) {
            protocol.setHost(OnLoopback.BIND);
        }
        if (!setting("SERIALIZATIONS", "").isEmpty()) {
            protocol.setPreferSerialization(setting("SERIALIZATIONS", ""));
        }
        return protocol;
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
