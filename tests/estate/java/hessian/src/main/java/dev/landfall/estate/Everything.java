package dev.landfall.estate;

import java.io.Serializable;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A field of every kind that business objects have. */
public class Everything implements Serializable {
    private static final long serialVersionUID = 1;

    public enum Color {
        RED,
        GREEN,
        // With a class of its own.
        BLUE {
            @Override
            public String toString() {
                return "blue";
            }
        }
    }

    public static class More extends Everything {
        private static final long serialVersionUID = 1;
        long extra;
        Everything[] others;
    }

    boolean flag;
    byte small;
    short shorter;
    int number;
    long big;
    float rough;
    double fine;
    char letter;
    Boolean boxedFlag;
    Integer boxedNumber;
    Long boxedBig;
    Double boxedFine;
    String text;
    BigDecimal amount;
    BigInteger huge;
    Date when;
    Color color;
    byte[] bytes;
    int[] numbers;
    String[] words;
    List<Object> list;
    Map<String, Object> map;
    Set<String> set;
    Everything next;
    Object any;
}
