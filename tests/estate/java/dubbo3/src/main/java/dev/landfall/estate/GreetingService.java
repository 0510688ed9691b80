package dev.landfall.estate;

import org.apache.dubbo.remoting.http12.HttpMethods;
import org.apache.dubbo.remoting.http12.rest.Mapping;
import org.apache.dubbo.remoting.http12.rest.Param;
import org.apache.dubbo.remoting.http12.rest.ParamType;

/**
 * One interface, two wire protocols: Dubbo2 on one port, Triple on the other.
 *
 * <p>Triple also answers plain HTTP/1.1: {@code POST /<interface>/<method>} with JSON, as long as a method has no
 * mapping of its own.
 */
public interface GreetingService {
    String sayHello(String name);

    Greeting greet(GreetingRequest request);

    @Mapping(path = "/greetings/{name}", method = HttpMethods.GET)
    Greeting greeting(@Param(value = "name", type = ParamType.PathVariable) String name);
}
