package dev.landfall.estate;

import java.io.Serializable;

public class Greeting implements Serializable {
    private String text;
    private String instance;

    public String getText() {
        return text;
    }

    public void setText(String text) {
        this.text = text;
    }

    public String getInstance() {
        return instance;
    }

    public void setInstance(String instance) {
        this.instance = instance;
    }
}
