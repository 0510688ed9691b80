package dev.landfall.estate;

public interface LegacyGreetingService {
    String sayHello(String name);

    int add(int left, int right);
}
