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
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/**
 * Writes generated bodies as Dubbo's Hessian does, reads them back from somebody who has decoded and encoded them, and
 * compares.
 *
 * <pre>
 *   java Hessian SEED COUNT
 *   stdout: COUNT times  [1 byte: values] [4 bytes: length] [bytes]
 *   stdin:  COUNT times                   [4 bytes: length] [bytes]
 *   stdout: a line for each difference, and a last one "compared N, differ M, …"
 * </pre>
 *
 * What this Hessian cannot read although it wrote it is left out and counted: with 3.2.13 (Dubbo 2.7) about one body in
 * eighty has a reference that its own reader takes for another thing; with 4.0.4 there is none. So is what it reads, but as
 * something that is not equal to itself when it is read twice: a wrong reference has become a map's key.
 */
public final class Hessian {
    private static final SerializerFactory FACTORY = new SerializerFactory();

    public static void main(String[] arguments) throws IOException {
        long seed = Long.parseLong(arguments[0]);
        int count = Integer.parseInt(arguments[1]);
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        Map<String, Integer> kinds = new TreeMap<>();

        List<byte[]> ours = new ArrayList<>();
        List<Integer> sizes = new ArrayList<>();
        int tried = 0;
        while (ours.size() < count) {
            Map<String, Integer> here = new TreeMap<>();
            List<Object> body = new Values(new Random(seed * 1_000_003 + tried++), here).body();
            byte[] bytes;
            try {
                bytes = write(body);
                if (new Same().compare(read(bytes, body.size()), read(bytes, body.size()), "body") != null) {
                    continue;
                }
            } catch (IOException | RuntimeException | StackOverflowError unreadable) {
                continue;
            }
            here.forEach((kind, times) -> kinds.merge(kind, times, Integer::sum));
            ours.add(bytes);
            sizes.add(body.size());
            out.writeByte(body.size());
            out.writeInt(bytes.length);
            out.write(bytes);
        }
        out.flush();

        int differ = 0;
        for (int i = 0; i < count; i++) {
            byte[] theirs = new byte[in.readInt()];
            in.readFully(theirs);
            String difference;
            try {
                difference = new Same().compare(read(ours.get(i), sizes.get(i)), read(theirs, sizes.get(i)), "body");
            } catch (IOException | RuntimeException | StackOverflowError problem) {
                difference = problem.toString();
            }
            if (difference != null && differ++ < 20) {
                out.writeBytes("body " + i + ": " + difference.replace('\n', ' ') + "\n");
            }
        }
        out.writeBytes("compared " + count + ", differ " + differ + ", left out " + (tried - count) + ", kinds " + kinds + "\n");
        out.flush();
    }

    private static byte[] write(List<Object> body) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        Hessian2Output output = new Hessian2Output(bytes);
        output.setSerializerFactory(FACTORY);
        for (Object value : body) {
            output.writeObject(value);
        }
        output.flushBuffer();
        return bytes.toByteArray();
    }

    private static List<Object> read(byte[] bytes, int size) throws IOException {
        Hessian2Input input = new Hessian2Input(new ByteArrayInputStream(bytes));
        input.setSerializerFactory(FACTORY);
        List<Object> body = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            body.add(input.readObject());
        }
        return body;
    }

    private Hessian() {}
}
