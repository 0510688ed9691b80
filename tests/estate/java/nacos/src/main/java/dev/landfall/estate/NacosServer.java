package dev.landfall.estate;

import com.alibaba.nacos.consistency.cp.CPProtocol;
import com.alibaba.nacos.consistency.cp.RequestProcessor4CP;
import com.alibaba.nacos.core.code.ControllerMethodsCache;
import com.alibaba.nacos.core.distributed.ProtocolManager;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.Collection;
import java.util.List;
import javax.annotation.PostConstruct;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.AutoConfigurationExcludeFilter;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.TypeExcludeFilter;
import org.springframework.boot.context.event.ApplicationStartedEvent;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.ComponentScan.Filter;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.FilterType;
import org.springframework.context.event.EventListener;
import org.springframework.scheduling.annotation.EnableScheduling;

/** One Nacos server, standalone, with its embedded Derby: the modules of the distribution without its web pages. */
@Configuration
@EnableAutoConfiguration
@ComponentScan(basePackages = "com.alibaba.nacos", excludeFilters = {
    // The modules have main classes of their own.
    @Filter(type = FilterType.ANNOTATION, classes = SpringBootApplication.class),
    @Filter(type = FilterType.CUSTOM, classes = TypeExcludeFilter.class),
    @Filter(type = FilterType.CUSTOM, classes = AutoConfigurationExcludeFilter.class)})
@ServletComponentScan("com.alibaba.nacos")
@EnableScheduling
public class NacosServer {

    private final ControllerMethodsCache methods;

    public NacosServer(ControllerMethodsCache methods) {
        this.methods = methods;
    }

    /** Nacos answers 501 for a path whose controller is not listed here; in the distribution the console does it. */
    @PostConstruct
    public void listControllers() {
        methods.initClassMethod("com.alibaba.nacos.core.controller");
        methods.initClassMethod("com.alibaba.nacos.naming.controllers");
        methods.initClassMethod("com.alibaba.nacos.config.server.controller");
    }

    /**
     * With {@code RAFT=true}: what an operator sets in the console (weight, enabled, metadata) is kept by Raft. In the
     * modules that are published {@code JRaftProtocol.addRequestProcessors} is empty, so that no group of it exists and
     * the console's writes are refused; here the groups are made as the distribution makes them.
     */
    @EventListener
    public void makeRaftGroups(ApplicationStartedEvent started) throws ReflectiveOperationException {
        if (!"true".equals(System.getenv("RAFT"))) {
            return;
        }
        CPProtocol<?, ?> raft = started.getApplicationContext().getBean(ProtocolManager.class).getCpProtocol();
        Field field = raft.getClass().getDeclaredField("raftServer");
        field.setAccessible(true);
        Object server = field.get(raft);
        Method make = server.getClass().getDeclaredMethod("createMultiRaftGroup", Collection.class);
        make.setAccessible(true);
        for (RequestProcessor4CP processor
                : started.getApplicationContext().getBeansOfType(RequestProcessor4CP.class).values()) {
            make.invoke(server, List.of(processor));
        }
    }

    public static void main(String[] arguments) {
        SpringApplication.run(NacosServer.class, arguments);
    }
}
