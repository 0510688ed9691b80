package dev.landfall.estate;

import com.alibaba.nacos.core.code.ControllerMethodsCache;
import javax.annotation.PostConstruct;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.AutoConfigurationExcludeFilter;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.TypeExcludeFilter;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.ComponentScan.Filter;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.FilterType;
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

    public static void main(String[] arguments) {
        SpringApplication.run(NacosServer.class, arguments);
    }
}
