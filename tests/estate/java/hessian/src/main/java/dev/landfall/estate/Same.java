package dev.landfall.estate;

import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** Whether two graphs are equal: the same classes, values and fields, and the same thing wherever one thing comes again. */
final class Same {
    private final Map<Object, Object> pairs = new IdentityHashMap<>();

    /** Null, or what differs and where. */
    String compare(Object one, Object other, String path) {
        if (one == null || other == null) {
            return one == other ? null : path + ": " + one + " and " + other;
        }
        if (one.getClass() != other.getClass()) {
            return path + ": " + one.getClass() + " and " + other.getClass();
        }
        boolean ours = one instanceof Everything || one instanceof Throwable;
        if (!ours && !(one instanceof Collection) && !(one instanceof Map) && !one.getClass().isArray()) {
            return Objects.equals(one, other) ? null : path + ": " + one + " and " + other;
        }
        Object known = pairs.put(one, other);
        if (known != null) {
            return known == other ? null : path + ": not the one that it was before";
        }
        if (one.getClass().isArray()) {
            int length = Array.getLength(one);
            if (length != Array.getLength(other)) {
                return path + ": lengths " + length + " and " + Array.getLength(other);
            }
            String difference = null;
            for (int i = 0; i < length && difference == null; i++) {
                difference = compare(Array.get(one, i), Array.get(other, i), path + "[" + i + "]");
            }
            return difference;
        }
        if (one instanceof Map) {
            Map<?, ?> left = (Map<?, ?>) one;
            Map<?, ?> right = (Map<?, ?>) other;
            if (!left.keySet().equals(right.keySet())) {
                return path + ": keys differ";
            }
            String difference = null;
            for (Iterator<?> keys = left.keySet().iterator(); keys.hasNext() && difference == null; ) {
                Object key = keys.next();
                difference = compare(left.get(key), right.get(key), path + "{" + key + "}");
            }
            return difference;
        }
        if (one instanceof Set) {
            return one.equals(other) ? null : path + ": sets differ";
        }
        if (one instanceof Collection) {
            return compare(((Collection<?>) one).toArray(), ((Collection<?>) other).toArray(), path);
        }
        try {
            return fields(one, other, path);
        } catch (IllegalAccessException problem) {
            return path + ": " + problem;
        }
    }

    private String fields(Object one, Object other, String path) throws IllegalAccessException {
        for (Class<?> type = one.getClass(); type != Object.class; type = type.getSuperclass()) {
            for (Field field : type.getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers()) || Modifier.isTransient(field.getModifiers())) {
                    continue;
                }
                field.setAccessible(true);
                String difference = compare(field.get(one), field.get(other), path + "." + field.getName());
                if (difference != null) {
                    return difference;
                }
            }
        }
        return null;
    }
}
