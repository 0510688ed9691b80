package dev.landfall.estate;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.LinkedList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** Values of every type and nesting, the same ones for the same seed; containers come again, also inside themselves. */
final class Values {
    private final Random random;
    private final Map<String, Integer> kinds;
    private final List<Object> known = new ArrayList<>();

    Values(Random random, Map<String, Integer> kinds) {
        this.random = random;
        this.kinds = kinds;
    }

    List<Object> body() {
        List<Object> body = new ArrayList<>();
        int size = 1 + random.nextInt(3);
        for (int i = 0; i < size; i++) {
            body.add(value(5));
        }
        return body;
    }

    private Object value(int depth) {
        if (!known.isEmpty() && random.nextInt(12) == 0) {
            return count("again", known.get(random.nextInt(known.size())));
        }
        Object value = depth > 0 && random.nextInt(2) == 0 ? container(depth - 1) : plain();
        return count(value == null ? "null" : value.getClass().getSimpleName(), value);
    }

    private Object count(String kind, Object value) {
        kinds.merge(kind, 1, Integer::sum);
        return value;
    }

    private Object plain() {
        switch (random.nextInt(27)) {
            case 0: return null;
            case 1: return random.nextBoolean();
            case 2: case 3: return (int) integer(32);
            case 4: case 5: return integer(64);
            case 6: case 7: return real();
            case 8: return (float) random.nextInt(100_000) / 8;
            case 9: return (short) integer(16);
            case 10: return (byte) integer(8);
            case 11: return (char) random.nextInt(0xd800);
            case 12: case 13: case 14: return text();
            case 15: return bytes(random.nextInt(300) == 0 ? 70_000 : random.nextInt(1100));
            case 16: return date();
            case 17: return new BigDecimal(new BigInteger(random.nextInt(120), random), random.nextInt(20) - 5);
            case 18: return new BigInteger(random.nextInt(200), random).negate();
            case 19: return TimeUnit.values()[random.nextInt(7)];
            case 20: return Everything.Color.values()[random.nextInt(3)];
            case 21: return random.nextBoolean() ? Locale.CHINA : Locale.forLanguageTag("de-CH");
            case 22: return new UUID(random.nextLong(), random.nextLong());
            case 23: return new java.sql.Timestamp(random.nextInt() * 1000L);
            case 24: return time();
            case 25: return new java.sql.Date(random.nextInt() * 1000L);
            default: return random.nextBoolean() ? String.class : Everything.class;
        }
    }

    private Object time() {
        LocalDate day = LocalDate.ofEpochDay(random.nextInt(40_000));
        LocalTime hour = LocalTime.ofNanoOfDay(Math.floorMod(random.nextLong(), 86_400_000_000_000L));
        switch (random.nextInt(5)) {
            case 0: return day;
            case 1: return hour;
            case 2: return LocalDateTime.of(day, hour);
            case 3: return LocalDateTime.of(day, hour).toInstant(ZoneOffset.UTC);
            default: return Duration.between(Instant.EPOCH, LocalDateTime.of(day, hour).toInstant(ZoneOffset.UTC));
        }
    }

    /** Every width comes up, and the borders between the compact forms. */
    private long integer(int width) {
        long value = random.nextLong() >> (64 - 1 - random.nextInt(width));
        return random.nextBoolean() ? value : (1L << random.nextInt(width - 1)) - random.nextInt(3) + 1;
    }

    private double real() {
        switch (random.nextInt(7)) {
            case 0: return random.nextInt(3) - 1;
            case 1: return random.nextInt(100_000) - 50_000;
            case 2: return random.nextInt() / 1000.0;
            case 3: return Double.longBitsToDouble(random.nextLong());
            case 4: return new double[] {-0.0, Double.NaN, Double.POSITIVE_INFINITY, Double.MIN_VALUE}[random.nextInt(4)];
            default: return random.nextGaussian();
        }
    }

    private Date date() {
        long minute = 60_000L * random.nextInt();
        return new Date(random.nextBoolean() ? minute : minute + random.nextInt(60_000));
    }

    private byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    private String text() {
        int length = random.nextInt(400) == 0 ? 60_000 + random.nextInt(20_000) : random.nextInt(random.nextInt(8) == 0 ? 1200 : 40);
        StringBuilder text = new StringBuilder();
        int alphabet = random.nextInt(4);
        while (text.length() < length) {
            switch (alphabet) {
                case 0: text.append((char) (' ' + random.nextInt(95))); break;
                case 1: text.append((char) random.nextInt(0x900)); break;
                // Pairs of surrogates, and surrogates alone.
                case 2: text.appendCodePoint(random.nextInt(0x110000)); break;
                default: text.append((char) random.nextInt(0x10000)); break;
            }
        }
        return text.toString();
    }

    private Object container(int depth) {
        int size = random.nextInt(8) == 0 ? random.nextInt(20) : random.nextInt(5);
        switch (random.nextInt(19)) {
            case 0: return fill(new ArrayList<>(), size, depth);
            case 1: return fill(new LinkedList<>(), size, depth);
            case 2: return words(new HashSet<>(), size);
            case 3: return words(new LinkedHashSet<>(), size);
            case 4: return fill(new HashMap<>(), size, depth);
            case 5: return fill(new LinkedHashMap<>(), size, depth);
            case 6: return numbered(new TreeMap<>(), size, depth);
            case 7: {
                Map<Object, Object> map = new ConcurrentHashMap<>();
                for (int i = 0; i < size; i++) {
                    map.put(text(), integer(64));
                }
                known.add(map);
                return map;
            }
            case 8: return keep(random.ints(size).toArray());
            case 9: return keep(random.longs(size).toArray());
            case 10: return keep(random.doubles(size).toArray());
            case 11: return keep(new boolean[size]);
            case 12: return keep(words(new ArrayList<>(), size).toArray(new String[0]));
            case 13: {
                Object[] array = new Object[size];
                known.add(array);
                for (int i = 0; i < size; i++) {
                    array[i] = value(depth);
                }
                return array;
            }
            case 14: return keep(new int[][] {random.ints(size).toArray(), null, {}});
            case 15: return random.nextBoolean() ? keep(new short[] {1, -2}) : keep(new float[] {1.5f, -2});
            case 16: {
                Exception failure = random.nextBoolean()
                    ? new IllegalStateException(text(), new RuntimeException(text())) : new RuntimeException(text());
                known.add(failure);
                return failure;
            }
            default: return everything(depth);
        }
    }

    private <T> T keep(T value) {
        known.add(value);
        return value;
    }

    private List<Object> fill(List<Object> list, int size, int depth) {
        known.add(list);
        for (int i = 0; i < size; i++) {
            list.add(value(depth));
        }
        return list;
    }

    private <C extends java.util.Collection<String>> C words(C words, int size) {
        for (int i = 0; i < size; i++) {
            words.add(text());
        }
        known.add(words);
        return words;
    }

    private Map<Object, Object> fill(Map<Object, Object> map, int size, int depth) {
        known.add(map);
        for (int i = 0; i < size; i++) {
            Object[] keys = {text(), (int) integer(32), integer(64), random.nextBoolean(), TimeUnit.DAYS, null};
            map.put(keys[random.nextInt(keys.length)], value(depth));
        }
        return map;
    }

    private Map<Object, Object> numbered(Map<Object, Object> map, int size, int depth) {
        known.add(map);
        for (int i = 0; i < size; i++) {
            map.put((int) integer(32), value(depth));
        }
        return map;
    }

    private Everything everything(int depth) {
        Everything it = random.nextInt(3) == 0 ? new Everything.More() : new Everything();
        known.add(it);
        it.flag = random.nextBoolean();
        it.small = (byte) integer(8);
        it.shorter = (short) integer(16);
        it.number = (int) integer(32);
        it.big = integer(64);
        it.rough = random.nextInt(10_000) / 16f;
        it.fine = real();
        it.letter = (char) (1 + random.nextInt(0xd000));
        it.text = random.nextInt(4) == 0 ? null : text();
        if (random.nextBoolean()) {
            it.boxedFlag = random.nextBoolean();
            it.boxedNumber = (int) integer(32);
            it.boxedBig = integer(64);
            it.boxedFine = real();
            it.amount = new BigDecimal(integer(64)).movePointLeft(random.nextInt(9));
            it.huge = new BigInteger(150, random);
            it.when = date();
            it.color = Everything.Color.values()[random.nextInt(3)];
            it.bytes = bytes(random.nextInt(40));
            it.numbers = random.ints(random.nextInt(12)).toArray();
            it.words = words(new ArrayList<>(), random.nextInt(4)).toArray(new String[0]);
        }
        if (depth > 0 && random.nextBoolean()) {
            it.list = fill(new ArrayList<>(), random.nextInt(4), depth - 1);
            it.map = new HashMap<>(Collections.singletonMap(text(), value(depth - 1)));
            it.set = words(new HashSet<>(), random.nextInt(3));
            it.any = value(depth - 1);
        }
        if (random.nextInt(3) == 0) {
            it.next = random.nextBoolean() || depth == 0 ? it : everything(depth - 1);
        }
        if (it instanceof Everything.More) {
            Everything.More more = (Everything.More) it;
            more.extra = integer(64);
            more.others = new Everything[] {it, null};
        }
        return it;
    }
}
