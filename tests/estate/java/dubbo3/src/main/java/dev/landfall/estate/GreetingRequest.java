package dev.landfall.estate;

import java.io.Serializable;

public class GreetingRequest implements Serializable {
    private String name;
    private int times = 1;

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }

    public int getTimes() {
        return times;
    }

    public void setTimes(int times) {
        this.times = times;
    }
}
