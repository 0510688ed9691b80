package dev.landfall.estate;

import com.alibaba.com.caucho.hessian.io.Hessian2Input;
import com.alibaba.com.caucho.hessian.io.Hessian2Output;
import com.alibaba.com.caucho.hessian.io.SerializerFactory;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Calendar;
import java.util.Date;
import java.util.List;

/**
 * Reads arguments as a provider does, by the types of the parameters, tells what they have become, and writes them as results.
 *
 * <pre>
 *   java Mapped
 *   stdin:  [4 bytes: count], then for each  [UTF: class, as Class.getName has it] [4 bytes: length] [bytes]
 *   stdout: for each                         [UTF: class of the value] [UTF: its text] [4 bytes: length] [bytes]
 * </pre>
 */
public final class Mapped {
    public enum Color { RED, GREEN }

    public static final class Order implements Serializable {
        long id;
        String name = "unnamed";
        Color color;
        BigDecimal price;
        List<Short> sizes;
        Order next;

        @Override
        public String toString() {
            return "Order(" + id + ", " + name + ", " + color + ", " + price + ", " + sizes + ", " + next + ")";
        }
    }

    public static final class Page<T> implements Serializable {
        List<T> items;
        T first;

        @Override
        public String toString() {
            return "Page(" + items + ", " + first + ")";
        }
    }

    public static void main(String[] arguments) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        SerializerFactory factory = new SerializerFactory();
        // Optional is not serializable.
        factory.setAllowNonSerializable(true);
        int count = in.readInt();
        for (int i = 0; i < count; i++) {
            String type = in.readUTF();
            byte[] bytes = new byte[in.readInt()];
            in.readFully(bytes);
            String told;
            String text;
            ByteArrayOutputStream again = new ByteArrayOutputStream();
            try {
                Hessian2Input input = new Hessian2Input(new ByteArrayInputStream(bytes));
                input.setSerializerFactory(factory);
                Object value = input.readObject(classOf(type));
                told = value == null ? "null" : value.getClass().getName();
                text = text(value);
                Hessian2Output output = new Hessian2Output(again);
                output.setSerializerFactory(factory);
                output.writeObject(value);
                output.flushBuffer();
            } catch (Exception | LinkageError problem) {
                told = "failed";
                text = problem.toString();
            }
            out.writeUTF(told);
            out.writeUTF(text);
            out.writeInt(again.size());
            again.writeTo(out);
        }
        out.flush();
    }

    private static Class<?> classOf(String name) throws ClassNotFoundException {
        switch (name) {
            case "boolean": return boolean.class;
            case "byte": return byte.class;
            case "char": return char.class;
            case "short": return short.class;
            case "int": return int.class;
            case "long": return long.class;
            case "float": return float.class;
            case "double": return double.class;
            default: return Class.forName(name);
        }
    }

    private static String text(Object value) {
        if (value instanceof Date) {
            return Long.toString(((Date) value).getTime());
        }
        if (value instanceof Calendar) {
            return Long.toString(((Calendar) value).getTimeInMillis());
        }
        String inArray = Arrays.deepToString(new Object[] {value});
        return inArray.substring(1, inArray.length() - 1);
    }

    private Mapped() {}
}
